// What ipywidgets and ipycanvas leave out. `this` is the <style> in an explorer that is shown.
const box = this.closest(".widget-vbox");
const slider = box?.querySelector(":scope > .widget-hslider");
const canvas = box?.querySelector(":scope > .widget-hbox canvas");
if (slider) {
  const handle = slider.querySelector(".noUi-handle");
  handle.ariaLabel = slider.querySelector(".widget-label").textContent;
  handle.dataset.lmSuppressShortcuts = true; // else Notebook 7 takes the arrow keys
  // Firefox and WebKit show a new picture a frame late. Until then its place shows the last one.
  const last = [];
  new MutationObserver(() =>
    box.querySelectorAll(".adv img").forEach((img, i) => {
      if (last[i] && !img.complete) img.style.background = `url(${last[i]}) 0 0 / 100% 100%`;
      last[i] = img.src;
    }),
  ).observe(box, { childList: true, subtree: true });
}
if (canvas) {
  canvas.role = "img";
  canvas.ariaLabel = "your drawing: use the mouse or a finger";
}
