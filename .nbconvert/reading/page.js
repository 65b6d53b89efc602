/** Explorers in a page without Python. network.js and explorer.js stand above this text. */

function pageSlider(model, moved) {
  const { description, steps, start } = model.get("setup");
  const range = { type: "range", min: 0, max: steps.length - 1, value: start };
  const input = make("input", { ...range, "aria-label": description });
  const output = make("output");
  input.oninput = () => {
    output.textContent = steps[input.value];
    input.setAttribute("aria-valuetext", steps[input.value]);
    moved();
  };
  input.oninput();
  const element = make("label", { className: "slider" }, description, input, output);
  return { element, step: () => Number(input.value) };
}

/** In a page: what the kernel is in a notebook. It has computed every choice beforehand. */
function pageModel(state) {
  const handlers = {};
  const set = (name, value) => {
    state[name] = value;
    handlers[`change:${name}`]?.();
  };
  const save_changes = () => {
    const { choice, setup, tables } = state;
    const { targeted } = setup.noises?.[choice.noise] ?? { targeted: true };
    const places = Object.entries(choice).filter(([name]) => name !== "target" || targeted);
    set("frames", tables[places.map(([, place]) => place)]);
  };
  save_changes();
  const on = (event, handler) => (handlers[event] = handler);
  return { get: (name) => state[name], set, on, save_changes };
}

function unpack(packed) {
  const stream = new Blob([bytes(packed)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("deflate")));
}

/** Show an explorer in a page: `packed` is from .nbconvert/pages.py. */
async function mount(el, packed) {
  const { blobs, state: text } = await unpack(packed).json();
  const state = JSON.parse(text, (_, value) => (value?.blob >= 0 ? blobs[value.blob] : value));
  if (state.weights) {
    const weights = await unpack(globalThis.courseWeights[state.weights]).arrayBuffer();
    state.weights = new DataView(fromHalf(new Uint8Array(weights)).buffer);
  }
  await show(pageModel(state), el, pageSlider);
}

for (const place of document.querySelectorAll(".explorer"))
  await mount(place, place.nextElementSibling.textContent);
