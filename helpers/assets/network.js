/**
 * The course's network 784-1000-10 in plain JavaScript, for pages without Python. What it is asked
 * is what helpers.models and helpers.attacks answer in Python, and a test compares.
 */

const PIXELS = 784;
const HIDDEN = 1000;
const CLASSES = 10;
const SIDE = 28;

class Network {
  #hidden = new Float32Array(HIDDEN);

  /** From fc1.weight, fc1.bias, fc2.weight and fc2.bias, one after the other, as float32. */
  constructor(weights) {
    let start = 0;
    const next = (size) => weights.subarray(start, (start += size));
    this.weight1 = next(HIDDEN * PIXELS);
    this.bias1 = next(HIDDEN);
    this.weight2 = next(CLASSES * HIDDEN);
    this.bias2 = next(CLASSES);
  }

  /** The probabilities of the classes for one image in [0, 1]. */
  probabilities(image) {
    const { weight1, bias1, weight2, bias2 } = this;
    const hidden = this.#hidden;
    const lit = [...image.keys()].filter((pixel) => image[pixel]); // black adds nothing
    const logits = Float64Array.from(bias2);
    for (let unit = 0, row = 0; unit < HIDDEN; unit++, row += PIXELS) {
      let sum = bias1[unit];
      for (const pixel of lit) sum += weight1[row + pixel] * image[pixel];
      hidden[unit] = Math.max(0, sum);
      if (sum > 0)
        for (let k = 0; k < CLASSES; k++) logits[k] += weight2[k * HIDDEN + unit] * sum;
    }
    const largest = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - largest));
    const total = powers.reduce((sum, power) => sum + power);
    return powers.map((power) => power / total);
  }

  /** The gradient of the cross-entropy with respect to the image. */
  gradient(image, label) {
    const { weight1, weight2 } = this;
    const error = this.probabilities(image);
    // Not p - 1, which is 0 in rounded numbers where the network is very sure.
    error[label] = 0;
    error[label] = -error.reduce((sum, p) => sum + p);
    const gradient = new Float64Array(PIXELS);
    for (let unit = 0, row = 0; unit < HIDDEN; unit++, row += PIXELS) {
      if (!this.#hidden[unit]) continue;
      let back = 0;
      for (let k = 0; k < CLASSES; k++) back += weight2[k * HIDDEN + unit] * error[k];
      for (let pixel = 0; pixel < PIXELS; pixel++)
        gradient[pixel] += back * weight1[row + pixel];
    }
    return gradient;
  }
}

/** Half-precision numbers (IEEE 754), of which first all high bytes come and then all low ones. */
function fromHalf(bytes) {
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const half = 256 * bytes[i] + bytes[i + bytes.length / 2];
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    return half >> 15 ? -size : size;
  });
}

/**
 * A drawing as MNIST's makers would have stored it (LeCun, Cortes and Burges): the digit fits a box
 * of 20 x 20 pixels, and its centre of mass is at pixel (14, 14) of 28 x 28. From grey levels
 * 0..255, white on black, `width` of them a row; returns 784 levels, or null for an empty drawing.
 */
function centerDigit(drawing, width) {
  let [left, top, right, bottom] = [width, Infinity, -1, -1];
  drawing.forEach((level, i) => {
    if (!level) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  });
  if (right < 0) return null;
  const [columns, rows] = [right - left + 1, bottom - top + 1];
  const scale = 20 / Math.max(columns, rows);
  const across = resampling(columns, Math.max(1, roundUp(columns * scale)));
  const down = resampling(rows, Math.max(1, roundUp(rows * scale)));
  const digit = down.map((row) =>
    across.map((column) => {
      let sum = 0;
      for (const [y, share] of row)
        for (const [x, part] of column) sum += share * part * drawing[(top + y) * width + left + x];
      return sum / 255;
    }),
  );
  const image = new Uint8Array(PIXELS);
  const y0 = centered(digit.map((row) => row.reduce((sum, value) => sum + value)));
  const x0 = centered(across.map((_, x) => digit.reduce((sum, row) => sum + row[x], 0)));
  digit.forEach((row, y) =>
    row.forEach((value, x) => (image[(y0 + y) * SIDE + x0 + x] = roundEven(value * 255))),
  );
  return image;
}

/** For each of `to` pixels: which of `from` it is made of, and by what share (triangle filter). */
function resampling(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(from, Math.trunc(center + support + 0.5));
    const shares = [];
    for (let j = first; j < last; j++)
      shares.push([j, Math.max(0, 1 - Math.abs(j + 0.5 - center) / support)]);
    const total = shares.reduce((sum, [, share]) => sum + share, 0);
    return shares.map(([j, share]) => [j, share / total]);
  });
}

/** Where pixels of these masses begin, so that their centre of mass is at pixel 14. */
function centered(masses) {
  const total = masses.reduce((sum, mass) => sum + mass);
  const center = masses.reduce((sum, mass, i) => sum + mass * i, 0) / total;
  return Math.min(Math.max(roundUp(14 - center), 0), SIDE - masses.length);
}

/** The nearest whole number; what decides a tie is this 0.001 and no rounding error. */
function roundUp(value) {
  return Math.floor(value + 0.501);
}

/** The nearest whole number, the even one in a tie, as NumPy and PyTorch round. */
function roundEven(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}
