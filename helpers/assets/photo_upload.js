const LIMIT = 8e6; // bytes; Jupyter drops a connection that sends more than 10 MiB at once

/** The middle of a picture, which is all that load_photo keeps, at twice the size it keeps. */
async function middle(file) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const canvas = new OffscreenCanvas(512, 512);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, 512, 512);
  context.imageSmoothingQuality = "high";
  const left = (picture.width - side) / 2;
  const top = (picture.height - side) / 2;
  context.drawImage(picture, left, top, side, side, 0, 0, 512, 512);
  return canvas.convertToBlob(); // as PNG
}

function render({ model, el }) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.onchange = async () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    try {
      const picture = file.size > LIMIT ? await middle(file) : file;
      model.send({ name: file.name }, undefined, [await picture.arrayBuffer()]);
    } catch {
      const size = Math.ceil(file.size / 1e6);
      model.send({ name: file.name, problem: `has ${size} MB and the browser cannot read it` });
    }
  };
  const button = document.createElement("button");
  button.className = "jupyter-button";
  button.style.margin = "2px"; // for the mark of the focus
  button.textContent = "your photograph …";
  button.title = "Attack a picture file of your own";
  button.onclick = () => input.click();
  el.append(button);
}

export default { render };
