/** What test_reading.py asks of a page of the reading edition; it calls these by their names. */

/** Does every explorer show its last picture? */
function allShown() {
  const isShown = (explorer) => explorer.querySelector("figure:last-of-type canvas")?.ariaLabel;
  return [...document.querySelectorAll(".explorer")].every(isShown);
}

/** A canvas's red, green, blue and alpha, pixel by pixel, as text, and its width. */
function levelsAndWidth(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [data.join(), canvas.width];
}

/** The text of elements without their formulas and code. */
function proseOf(elements) {
  const texts = elements.map((element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll("mjx-container, code, pre").forEach((inner) => inner.remove());
    return copy.textContent;
  });
  return texts.join(" ");
}

/** What of open folds reaches beyond the window and cannot be pushed into sight. */
function cutOff(folds) {
  const scrolls = (part) => getComputedStyle(part).overflowX === "auto";
  const isCutOff = (part) => {
    if (part.getBoundingClientRect().right <= innerWidth) return false;
    for (let around = part; around; around = around.parentElement)
      if (scrolls(around)) return around.getBoundingClientRect().right > innerWidth;
    return true;
  };
  const parts = folds.flatMap((fold) => [...fold.querySelectorAll("*")]);
  return parts.filter(isCutOff).map((part) => part.outerHTML.slice(0, 200));
}
