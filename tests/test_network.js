/** What test_network.py asks of a page with network.js; arrays come as base64. */

const networks = {};
const toBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function addNetwork([name, weights]) {
  networks[name] = new Network(new Float32Array(toBytes(weights).buffer));
}

/** For each image, 784 levels: the prediction, and the signs of the gradient for its label. */
function answers([name, levels, labels]) {
  const images = Float32Array.from(toBytes(levels), (level) => level / 255);
  const network = networks[name];
  return labels.map((label, i) => {
    const image = images.subarray(i * 784, (i + 1) * 784);
    const probabilities = [...network.probabilities(image)];
    const prediction = probabilities.indexOf(Math.max(...probabilities));
    return [prediction, [...network.gradient(image, label)].map(Math.sign)];
  });
}

function centredLevels([drawing, width]) {
  return [...centerDigit(toBytes(drawing), width)];
}

function unpackedHalves(planes) {
  return [...fromHalf(toBytes(planes))];
}
