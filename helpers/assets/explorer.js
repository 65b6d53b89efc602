/**
 * The explorers of helpers.widgets, the same in a notebook, as an anywidget, and in a web page:
 * Python gives arrays, this draws them. network.js stands above this text.
 */

const CANVAS = 196; // the side of the drawing, in pixels
const PEN = 16;
const TOOLTIPS = {
  picture: "Which picture is attacked",
  noise: "Which noise is added",
  target: "The class that the noise aims at",
  source: "The network that the noise is made for",
};
const UPLOAD_LIMIT = 8e6; // bytes; Jupyter drops a connection that sends more than 10 MiB at once

/** An element with properties or attributes, and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Bytes from a notebook (a DataView) or from a page (base64). */
function bytes(value) {
  if (value instanceof DataView)
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(value);
  const text = atob(value);
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

/** The grey levels of a digit, or red, green and blue of a photograph, pixel by pixel. */
async function levelsOf(picture, photo) {
  if (!photo) return bytes(picture);
  const bitmap = await createImageBitmap(new Blob([bytes(picture)]));
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return data.filter((_, i) => i % 4 < 3);
}

/** Signs as sent: a bit for each, the first one highest, and the places of the zeros. */
function signsOf({ signs, zeros }, length) {
  const bits = bytes(signs);
  const found = new Int8Array(length);
  for (let i = 0; i < length; i++) found[i] = bits[i >> 3] & (128 >> (i & 7)) ? 1 : -1;
  for (const place of new Uint32Array(bytes(zeros).buffer)) found[place] = 0;
  return found;
}

/** A colour map's index, or a channel's level, for a change of a pixel. */
function noiseLevel(change, amplification, photo) {
  const scaled = Math.fround(0.5 + Math.fround(Math.fround(0.5 * amplification) * change));
  const level = photo ? roundEven(Math.fround(scaled * 255)) : Math.floor(scaled * 256);
  return Math.min(255, Math.max(0, level));
}

/** The result and the noise of one step along signs, as levels: what Python would compute. */
function signStep(image, signs, epsilon, { amplification, kind }) {
  // A pixel depends only on its level and its sign.
  const results = new Uint8Array(768);
  const noises = new Uint8Array(768);
  for (let i = 0; i < 768; i++) {
    const x = Math.fround((i & 255) / 255);
    const moved = Math.fround(x + Math.fround(Math.fround(epsilon) * ((i >> 8) - 1)));
    const result = Math.min(1, Math.max(0, moved));
    results[i] = roundEven(Math.fround(result * 255));
    noises[i] = noiseLevel(Math.fround(result - x), amplification, kind === "photo");
  }
  const result = new Uint8Array(image.length);
  const noise = new Uint8Array(image.length);
  for (let i = 0; i < image.length; i++) {
    const place = image[i] + 256 * (signs[i] + 1);
    result[i] = results[place];
    noise[i] = noises[place];
  }
  return { result, noise };
}

/** The pixels of every step, of what Python computed: `(step) => {result, noise}`. */
function pixelsOf(frames, image, setup) {
  const signs = frames.signs && signsOf(frames, image.length);
  if (signs) return (step) => signStep(image, signs, setup.positions[step], setup);
  const [results, noises] = [frames.results, frames.noises ?? ""].map(bytes);
  return (step) => {
    const part = [step * image.length, (step + 1) * image.length];
    return { result: results.subarray(...part), noise: noises.subarray(...part) };
  };
}

/** The same and what the model sees there: `(step) => {result, noise, guess, values}`. */
function stored(frames, image, setup) {
  const { classes, guesses } = frames;
  const shares = new Uint16Array(bytes(frames.probabilities).buffer);
  const pixels = pixelsOf(frames, image, setup);
  return (step) => {
    const values = new Map(classes.map((k, i) => [k, shares[step * classes.length + i] / 65535]));
    return { ...pixels(step), values, guess: guesses[step] };
  };
}

/** The same computed here by the course's network: `noise` is an entry of the menu. */
function computed(network, image, noise, aim, setup) {
  const clean = toFloats(image);
  const follow = (x) => {
    const gradient = network.gradient(x, aim);
    return gradient.map((g) => (noise.targeted ? -Math.sign(g) : Math.sign(g)));
  };
  const first = noise.steps ? follow(clean) : signsOf(setup.random, image.length);
  const count = Math.max(1, noise.steps);
  const looks = new Map();
  const look = (step) => {
    const size = Math.fround(setup.positions[step] / count);
    const x = clean.slice();
    for (let done = 0; done < count; done++) {
      const signs = done ? follow(x) : first;
      for (let i = 0; i < PIXELS; i++) x[i] = Math.min(1, Math.max(0, x[i] + size * signs[i]));
    }
    const change = x.map((value, i) => value - clean[i]);
    return {
      result: Uint8Array.from(x, (value) => roundEven(Math.fround(value * 255))),
      noise: Uint8Array.from(change, (each) => noiseLevel(each, setup.amplification, false)),
      ...reading(network, x),
    };
  };
  return (step) => looks.get(step) ?? looks.set(step, look(step)).get(step);
}

const toFloats = (levels) => Float32Array.from(levels, (level) => level / 255);

/** What the network sees: the probabilities by class, and the likeliest class. */
function reading(network, image) {
  const values = [...network.probabilities(image)];
  return { values: new Map(values.entries()), guess: values.indexOf(Math.max(...values)) };
}

const GREY = Uint8Array.from({ length: 768 }, (_, i) => i / 3);

/** Draw levels on a canvas of their size; `map` has three bytes for each grey level. */
function put(canvas, levels, photo, map) {
  const side = Math.sqrt(levels.length / (photo ? 3 : 1));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const pixels = new ImageData(side, side);
  const colors = photo ? levels : map;
  for (let i = 0; i < side * side; i++) {
    const first = 3 * (photo ? i : levels[i]);
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = colors[first + c];
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** A picture with a name for screen readers and a caption. */
class Figure {
  canvas = make("canvas", { role: "img" });
  caption = make("figcaption");
  element = make("figure", {}, this.canvas, this.caption);

  show(levels, photo, map, name, caption) {
    if (levels !== this.levels) put(this.canvas, levels, photo, map);
    this.levels = levels;
    this.canvas.setAttribute("aria-label", name);
    this.caption.textContent = caption;
  }
}

function bar(name, share, color, isTrue = false) {
  const length = make("i");
  length.style.cssText = `width: ${percent(share)}; background: ${color}`;
  const label = make("span", { title: name }, name);
  return make("div", { className: isTrue ? "bar true" : "bar" }, label, length, percent(share));
}

/** Where along the slider the prediction is right and wrong, as far as it is known. */
function strip(wrong, step, { steps, who, colors }) {
  const parts = steps.map((_, i) => make("div", { className: wrong[i] ? "wrong" : "" }));
  wrong.forEach((is, i) => (parts[i].style.background = is ? colors.adversarial : colors.clean));
  const here = make("div", { className: "here" });
  here.style.left = `${(100 * (step + 0.5)) / steps.length}%`;
  const first = wrong.indexOf(true);
  const found = `wrong from epsilon ${steps[first]} on this grid`;
  const text = first < 0 ? `right up to ${steps.at(wrong.length - 1)}` : found;
  const runs = make("div", { className: "runs" }, ...parts, here);
  return [runs, wrong.length ? `${who} is ${text}` : ""];
}

/** The menus of an explorer; `chosen` hears of a choice. */
function menus(model, chosen) {
  const { noises } = model.get("setup");
  const element = make("div", { className: "menus" });
  const selects = {};
  const update = () => {
    const choice = model.get("choice");
    for (const [name, options] of Object.entries(model.get("menus"))) {
      if (!selects[name]) {
        // In Jupyter the keys are the notebook's unless the input says so.
        const select = make("select", { "aria-label": name, "data-lm-suppress-shortcuts": true });
        select.onchange = () => chosen({ [name]: select.selectedIndex });
        element.append(make("label", { title: TOOLTIPS[name] }, `${name} `, select));
        selects[name] = select;
      }
      if (selects[name].length !== options.length)
        selects[name].replaceChildren(...options.map((text) => make("option", {}, text)));
      selects[name].selectedIndex = choice[name];
    }
    if (selects.target && selects.noise) selects.target.disabled = !noises[choice.noise].targeted;
  };
  update();
  return { element, update };
}

/** Fill an element with an explorer; returns how to take leave of it. */
async function show(model, el, makeSlider) {
  const setup = model.get("setup");
  const { steps, names, colors } = setup;
  const photo = setup.kind === "photo";
  const map = bytes(setup.map);
  const verdict = (guess, label) => `${names[guess]}\u00a0${guess === label ? "✓" : "✗"}`;
  const figures = [new Figure(), new Figure(), new Figure()];
  const bars = make("div", { className: "bars" });
  const note = make("div", { className: "strip" });
  const message = make("div", { role: "status" });
  const progress = make("progress", { "aria-label": "computing" });
  const pictures = make("div", { className: "pictures" });
  pictures.append(...figures.map((each) => each.element), bars, note);
  let draw = () => {}; // what the slider's step shows, once something is there
  const slider = await makeSlider(model, () => draw());
  const weights = model.get("weights");
  const network = weights && new Network(new Float32Array(bytes(weights).buffer));
  let drawing = null; // a digit of the reader's own, as levels

  function drawPicture({ image, label, look, wrong, notes, amplification, color }) {
    const step = slider.step();
    const { result, noise, values, guess } = look(step);
    const says = `${verdict(guess, label)} ${percent(values.get(guess))}`;
    const times = Number(amplification.toPrecision(3));
    const at = `at ${steps[step]}`;
    const shown = [
      [image, GREY, `original image: ${names[label]}`, `original: ${names[label]}`],
      [noise, map, `noise ${at}, amplified ${times} times`, `noise × ${times}`],
      [result, GREY, `adversarial image ${at}: predicted ${says}`, says],
    ];
    shown.forEach(([levels, ...rest], i) => figures[i].show(levels, photo, ...rest));
    // All ten in their order; of more the five likeliest, and the true one.
    let classes = [...values.keys()];
    if (names.length > 10) {
      classes = classes.sort((a, b) => values.get(b) - values.get(a));
      classes = classes.filter((k, rank) => rank < 5 || k === label);
    }
    const colored = (k) => (k === label ? colors.clean : color);
    const rows = classes.map((k) => bar(names[k], values.get(k), colored(k), k === label));
    bars.replaceChildren(...rows);
    note.replaceChildren(...(notes ? [notes[step]] : strip(wrong, step, setup)));
  }

  // Ten digits before one network, or one digit before several, whose names are `networks`.
  function drawRow({ labels, guesses, networks, shares, accuracies, total, pixels }, row) {
    const step = slider.step();
    const { result } = pixels(step);
    row.forEach((each, i) => {
      let says = verdict(guesses[step][i], labels[i]);
      let name = `a ${names[labels[i]]} at epsilon ${steps[step]}, predicted ${says}`;
      if (networks) {
        name = `${networks[i]}: ${name}`;
        says = `${says} ${percent(shares[step][i])}\n${networks[i]}`;
        const right = guesses[step][i] === labels[i];
        each.caption.style.borderColor = right ? colors.clean : colors.adversarial;
      }
      each.show(result.subarray(i * PIXELS, (i + 1) * PIXELS), false, GREY, name, says);
    });
    if (networks) return;
    bars.replaceChildren(
      `accuracy on ${total.toLocaleString("en")} images`,
      bar("FGSM", accuracies[0][step], colors.adversarial),
      bar("random", accuracies[1][step], colors.random),
    );
  }

  // The kernel's answer to a choice
  async function receive() {
    const frames = model.get("frames");
    const image = await levelsOf(frames.image, photo);
    if (frames !== model.get("frames")) return; // a newer one came meanwhile
    if (frames.labels) {
      const row = frames.labels.map(() => new Figure());
      pictures.replaceChildren(...row.map((each) => each.element), bars);
      const pixels = pixelsOf(frames, image, setup);
      draw = () => drawRow({ ...frames, pixels }, row);
    } else {
      const look = stored(frames, image, setup);
      const wrong = frames.guesses.map((guess) => guess !== frames.label);
      const color = frames.random ? colors.random : colors.adversarial;
      draw = () => drawPicture({ ...setup, ...frames, image, look, wrong, color });
    }
    draw();
  }

  // The network's answer: at once where the slider stands, and then along the strip.
  function answer() {
    const { picture, noise: place, target } = model.get("choice");
    const own = picture === setup.labels.length;
    const start = picture * PIXELS;
    const image = own ? drawing : bytes(setup.pictures).subarray(start, start + PIXELS);
    const label = own ? reading(network, toFloats(image)).guess : setup.labels[picture];
    const noise = setup.noises[place];
    const look = computed(network, image, noise, noise.targeted ? target : label, setup);
    const wrong = [];
    const color = noise.steps ? colors.adversarial : colors.random;
    const mine = (draw = () => drawPicture({ ...setup, image, label, look, wrong, color }));
    draw();
    const fill = () => {
      const until = performance.now() + 8; // then the screen has its turn
      while (wrong.length < steps.length && performance.now() < until)
        if (draw === mine) wrong.push(look(wrong.length).guess !== label);
        else return; // something newer is asked for
      if (wrong.length < steps.length) setTimeout(fill);
      else draw();
    };
    setTimeout(fill, 100);
  }

  const controls = menus(model, choose);
  function choose(change) {
    model.set("choice", { ...model.get("choice"), ...change });
    controls.update();
    if (network) answer();
    else model.save_changes();
  }

  function drawn(levels, lifted) {
    const digit = centerDigit(levels, CANVAS);
    if (!digit) return;
    if (!network) {
      if (lifted) model.send?.({ drawing: true }, undefined, [digit.buffer]);
      return;
    }
    drawing = digit;
    const { picture, ...others } = model.get("menus");
    const own = setup.labels.length;
    model.set("menus", { picture: [...picture.slice(0, own), "your digit"], ...others });
    choose({ picture: own });
  }

  function tell() {
    message.textContent = model.get("message");
    progress.value = model.get("progress");
    progress.hidden = progress.value >= 1;
  }

  tell();
  if (setup.upload && model.send) controls.element.append(uploadButton(model));
  controls.element.append(progress);
  el.classList.add("adv", setup.kind);
  if (setup.pad && (network || model.send)) el.append(pad(drawn));
  const side = [controls.element, message, slider.element, pictures];
  el.append(make("div", { className: "side" }, ...side));
  const heard = { frames: receive, menus: controls.update, choice: controls.update };
  for (const [name, handler] of Object.entries({ ...heard, message: tell, progress: tell }))
    model.on(`change:${name}`, handler); // anywidget takes them off
  await (network ? answer() : receive());
  return slider.remove;
}

/** The ipywidgets slider of a notebook; its steps reach the picture without the kernel. */
async function notebookSlider(model, moved) {
  const manager = model.widget_manager;
  const slider = await manager.get_model(model.get("slider").replace("IPY_MODEL_", ""));
  const view = await manager.create_view(slider);
  const handle = view.el.querySelector(".noUi-handle, .ui-slider-handle"); // ipywidgets 8, 7
  handle.setAttribute("aria-label", slider.get("description"));
  handle.dataset.lmSuppressShortcuts = true;
  slider.on("change:index", moved);
  let closed = false; // then Jupyter has removed its view
  slider.on("destroy", () => (closed = true));
  const remove = () => {
    slider.off("change:index", moved);
    if (!closed) view.remove();
  };
  return { element: view.el, step: () => slider.get("index"), remove };
}

/** A canvas to draw a digit on; `drawn` hears of its levels, and whether the pen is lifted. */
function pad(drawn) {
  const canvas = make("canvas", { width: CANVAS, height: CANVAS, role: "img", className: "pad" });
  canvas.setAttribute("aria-label", "your drawing: use the mouse or a finger");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pen = { lineCap: "round", lineJoin: "round", lineWidth: PEN, strokeStyle: "white" };
  Object.assign(context, pen);
  const hint = make("div", { className: "hint" }, "Draw a digit in the black square.");
  const clear = make("button", { title: "Wipe the canvas" }, "clear");
  const read = (lifted) => {
    const { data } = context.getImageData(0, 0, CANVAS, CANVAS);
    drawn(Uint8Array.from({ length: CANVAS * CANVAS }, (_, i) => data[4 * i]), lifted);
  };
  let waiting = 0; // for the next frame of the screen: more looks at the drawing nobody would see
  const stroke = (event) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top].map((at) => (at * CANVAS) / width);
    context.lineTo(x, y);
    context.lineTo(x + 0.01, y); // a touch leaves a dot
    context.stroke();
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      read(false);
    });
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    context.beginPath();
    hint.hidden = true;
    canvas.onpointermove = stroke;
    stroke(event);
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    canvas.onpointermove = null;
    read(true);
  };
  clear.onclick = () => {
    context.fillRect(0, 0, CANVAS, CANVAS);
    hint.hidden = false;
  };
  clear.onclick();
  return make("div", { className: "own" }, make("div", {}, canvas, hint), clear);
}

/** The middle of a picture, which is all that load_photo keeps, at twice the size it keeps. */
async function middle(file) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const canvas = new OffscreenCanvas(512, 512);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, 512, 512);
  context.imageSmoothingQuality = "high";
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 2];
  context.drawImage(picture, left, top, side, side, 0, 0, 512, 512);
  return canvas.convertToBlob(); // as PNG
}

function uploadButton(model) {
  const input = make("input", { type: "file", accept: "image/*" });
  input.onchange = async () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    try {
      const picture = file.size > UPLOAD_LIMIT ? await middle(file) : file;
      model.send({ name: file.name }, undefined, [await picture.arrayBuffer()]);
    } catch {
      const size = Math.ceil(file.size / 1e6);
      model.send({ name: file.name, problem: `has ${size} MB and the browser cannot read it` });
    }
  };
  const title = "Attack a picture file of your own";
  return make("button", { title, onclick: () => input.click() }, "your photograph …");
}

const render = ({ model, el }) => show(model, el, notebookSlider);

export default { render };
