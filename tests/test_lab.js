/** What test_lab.py asks of a page of JupyterLab or Notebook 7; it calls these by their names. */

const notebook = () => jupyterapp.shell.currentWidget;
const kernel = () => notebook().context.sessionContext.session.kernel;

/** Is the notebook's kernel there, and idle? */
function isReady() {
  try {
    return kernel().status === "idle";
  } catch {
    return false; // the page is still loading
  }
}

/** How many outputs of each cell that is to be guessed are in the page. */
function outputsOfGuesses() {
  const { widgets } = notebook().content;
  const guesses = widgets.filter((cell) => cell.model.getMetadata("tags")?.includes("guess"));
  return guesses.map((cell) => cell.node.querySelectorAll(".jp-OutputArea-output").length);
}

/** Record what an explorer shows in every animation frame, until seen() is called. */
let seen;
function watch(explorer) {
  const frames = [];
  const look = () => {
    const pictures = [...explorer.querySelectorAll(".pictures canvas")];
    frames.push({
      time: performance.now(),
      names: pictures.map((canvas) => canvas.ariaLabel),
      height: explorer.offsetHeight,
    });
    next = requestAnimationFrame(look);
  };
  let next = requestAnimationFrame(look);
  seen = () => {
    cancelAnimationFrame(next);
    return frames;
  };
}

/** Are all pictures but the original others than `before`? */
function areOthers([explorer, before]) {
  const shown = [...explorer.querySelectorAll(".pictures canvas")];
  return shown.every((canvas, i) => i === 0 || canvas.toDataURL() !== before[i]);
}

/** Press 60 arrow keys, two to the right and one to the left; returns when the last one was. */
async function floodOfKeys(handle) {
  const { port1, port2 } = new MessageChannel();
  for (let i = 0; i < 60; i++) {
    const key = i % 3 === 2 ? "ArrowLeft" : "ArrowRight";
    handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    port2.postMessage(null); // one task for each key, as in a person's browser
    await new Promise((done) => (port1.onmessage = done));
  }
  return performance.now();
}

/** Choose the second option, and the third before a photograph's pictures can be there. */
async function chooseTwice(menu) {
  for (const place of [1, 2]) {
    menu.selectedIndex = place;
    menu.dispatchEvent(new Event("change", { bubbles: true }));
    await new Promise((done) => setTimeout(done, 100));
  }
}

function isBlack(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.every((value, i) => value === (i % 4 === 3 ? 255 : 0));
}

function labelAndTooltip(control) {
  const whole = control.closest("label, .widget-inline-hbox") ?? control;
  const parts = [whole, ...whole.querySelectorAll("*")];
  const tooltip = parts.find((part) => part.title && part.title !== "null")?.title;
  return [control.labels?.[0]?.firstChild.data ?? whole.textContent, tooltip];
}

/** What of an explorer reaches beyond `right`, or has a text that is cut off. */
function cutOff(explorer, right) {
  const texts = "button, label, figcaption, .widget-readout";
  const tooWide = (part) =>
    part.getBoundingClientRect().right > right ||
    (part.matches(texts) && part.scrollWidth > part.clientWidth);
  return [...explorer.querySelectorAll("*")].filter(tooWide).map((part) => part.outerHTML);
}

/** What code prints in the notebook's kernel. */
async function runInKernel(code) {
  let text = "";
  const run = kernel().requestExecute({ code, store_history: false });
  run.onIOPub = ({ content }) => {
    if (content.name === "stdout") text += content.text;
  };
  const { content } = await run.done;
  if (content.status !== "ok") throw new Error(content.evalue);
  return text;
}

/** Run the cells that make these calls, until the pictures of all are there, and all that again. */
async function runCells([calls, times]) {
  const { content } = notebook();
  const run = (call) => {
    const makes = (cell) => cell.model.sharedModel.getSource().includes(call);
    content.activeCellIndex = content.widgets.findIndex(makes);
    return jupyterapp.commands.execute("notebook:run-cell");
  };
  const shown = ".adv figure:nth-of-type(3) canvas[aria-label]";
  for (let i = 0; i < times; i++) {
    await Promise.all(calls.map(run));
    while (document.querySelectorAll(shown).length < calls.length)
      await new Promise(requestAnimationFrame);
  }
}

/** How many models of widgets the page holds. */
async function countModels() {
  const type = "application/vnd.jupyter.widget-view+json";
  const renderer = notebook().content.rendermime.createRenderer(type);
  const manager = await renderer._manager.promise; // Jupyter has no public way to it
  const { state } = await manager.get_state();
  return Object.keys(state).length;
}
