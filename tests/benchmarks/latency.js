/**
 * What latency.py measures in the page of a notebook.
 *
 * step() takes from the browser's receipt of a key (the event's own time stamp) to the end of the
 * animation frame in which the pictures are others. Half a frame of it, 8 ms, is the mean wait for
 * the next refresh. choose() takes from the choice to the end of the frame in which the original is
 * that of the choice: through the kernel and back. With several choices, 100 ms apart, from the
 * last one.
 */

// The names say what is drawn, and change with it; to read the pixels back would take its time.
const names = (explorer) =>
  [...explorer.querySelectorAll(".pictures canvas")].map((canvas) => canvas.ariaLabel);

async function renewed(explorer, before, original) {
  let now;
  do {
    await new Promise(requestAnimationFrame);
    now = names(explorer);
  } while (String(now) === String(before) || (original && now[0] !== original));
  await new Promise((done) => {
    // A task, which runs after the frame.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(null);
  });
  return performance.now();
}

async function step(explorer) {
  const pressed = new Promise((done) =>
    explorer.addEventListener("keydown", done, { capture: true, once: true }),
  );
  const end = renewed(explorer, names(explorer));
  return (await end) - (await pressed).timeStamp;
}

/** Updates in a second while a key is held. */
async function hold(explorer, milliseconds) {
  const handle = explorer.querySelector(".noUi-handle");
  const start = performance.now();
  let key = "ArrowLeft";
  let [steps, passed] = [0, 0];
  while (passed < milliseconds) {
    const value = handle.ariaValueNow;
    const before = names(explorer);
    handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    if (handle.ariaValueNow === value) key = key === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    else {
      passed = (await renewed(explorer, before)) - start;
      steps++;
    }
  }
  return (1000 * steps) / passed;
}

async function choose(explorer, places) {
  const choice = explorer.querySelector("select[aria-label=picture]");
  const before = names(explorer);
  let start;
  for (const place of places) {
    if (start) await new Promise((done) => setTimeout(done, 100));
    choice.selectedIndex = place;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    start = performance.now();
  }
  const name = choice.selectedOptions[0].text.split(": ")[1];
  return (await renewed(explorer, before, `original image: ${name}`)) - start;
}
