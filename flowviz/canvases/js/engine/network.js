/**
 * Learned fields: flowviz/fields/learned.py on the multilayer perceptron of flowviz/networks/mlp.py. What
 * depends on time alone is computed once for each evaluation, the rest in 32-bit numbers and in blocks that
 * stay in the cache.
 */

import { BLOCK, TILE, kernel, weightAt } from "./kernel.js";
import { coefficients, wronskian } from "./schedulers.js";
import { expBelow } from "./special.js";

/** 16-bit floating-point numbers as doubles. */
function fromHalf(words) {
  return Float64Array.from(words, (word) => {
    const sign = word & 0x8000 ? -1 : 1, exponent = (word >> 10) & 31, fraction = word & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}

/** A network of a payload with its weights as doubles. */
export function unpacked(network) {
  const doubles = (words) => (words instanceof Uint16Array ? fromHalf(words) : Float64Array.from(words));
  const layer = ({ weight, bias }) => ({ weight: doubles(weight), bias: doubles(bias) });
  const { clock, shift, layers, head } = network;
  const small = { clock: layer(clock), shift: layer(shift), head: layer(head) };
  return { ...network, ...small, layers: layers.map(layer) };
}

/** v / (1 + exp(-v)). */
function silu(v) {
  const small = expBelow(-Math.abs(v));
  return v < 0 ? (v * small) / (1 + small) : v / (1 + small);
}

/** What a network predicts, as q_1 x_1 + q_0 x_0, and its velocity a x + b q; see flowviz/objectives.py. */
const OBJECTIVES = {
  flow: (c) => ({ one: c.dAlpha, zero: c.dSigma, a: 0, b: 1 }),
  noise: (c) => ({ one: 0, zero: 1, a: c.dAlpha / c.alpha, b: -wronskian(c) / c.alpha }),
  score: (c) => ({
    one: 0, zero: -1 / c.sigma, a: c.dAlpha / c.alpha, b: (wronskian(c) * c.sigma) / c.alpha,
  }),
  data: (c) => ({ one: 1, zero: 0, a: c.dSigma / c.sigma, b: wronskian(c) / c.sigma }),
};

/** A fully connected layer of few numbers: weights (outputs, inputs). */
const dense = ({ weight, bias }, inputs) =>
  Array.from(bias, (sum, o) => inputs.reduce((all, v, i) => all + weight[o * inputs.length + i] * v, sum));

/** Numbers with their sines and cosines at each rate, as `waves` of flowviz/networks/second_time.py. */
const waves = (values, rates) => {
  const angles = values.flatMap((v) => rates.map((rate) => v * rate));
  return [...values, ...angles.map(Math.sin), ...angles.map(Math.cos)];
};

/** The same for points x (2 rows), as rows of `out` (inputs, BLOCK). */
function features(x, rows, rates, out) {
  const octaves = rates.length;
  for (let r = 0; r < rows; r++)
    for (let d = 0; d < 2; d++) {
      const v = (out[d * BLOCK + r] = x[2 * r + d]), sines = 2 + d * octaves, cosines = sines + 2 * octaves;
      let sine = Math.sin(v * rates[0]), cosine = Math.cos(v * rates[0]);
      for (let k = 0; k < octaves; k++) { // each rate is twice the one before
        out[(sines + k) * BLOCK + r] = sine;
        out[(cosines + k) * BLOCK + r] = cosine;
        [sine, cosine] = [2 * sine * cosine, cosine * cosine - sine * sine];
      }
    }
}

const whole = (count, unit) => Math.ceil(count / unit) * unit;

/**
 * The layers of a network in the memory of a kernel, with their places: of the inputs (inputs, BLOCK), of two
 * buffers of hidden units (m, BLOCK), and of the weight and the bias of each layer. The last one is the head.
 */
function placed({ layers, head, x_rates: rates }) {
  const width = layers[0].bias.length, inputs = 2 + 4 * rates.length, m = whole(width, TILE.units);
  const buffers = [BLOCK * inputs, BLOCK * (inputs + m)]; // units beyond the width are 0
  let size = BLOCK * (inputs + 2 * m);
  const parts = [...layers, head].map(({ weight, bias }, l) => {
    const n = l ? m : inputs, outputs = whole(bias.length, TILE.units);
    const part = { weight, n, own: l ? width : inputs, outputs, place: size, bias: size + n * outputs };
    size = part.bias + outputs;
    return part;
  });
  const { memory, ...run } = kernel(size);
  for (const { weight, place, n, own } of parts)
    weight.forEach((v, q) => { memory[place + weightAt(q % own, Math.floor(q / own), n)] = v; });
  return { width, buffers, parts, memory, ...run };
}

const known = new WeakMap();

/** The same, prepared once for each network. */
function prepared(network) {
  if (!known.has(network)) known.set(network, placed(network));
  return known.get(network);
}

/**
 * The field of a network: `velocity(t, x, out)`.
 * @param {any} network From `unpacked`; its entries are those of flowviz/site/parameters.py. Without
 *   `preconditioned` it predicts the quantity itself.
 * @param {any} path
 */
export function networkField(network, path) {
  const { mean, std, bound, layers, head } = network;
  const xRates = [...network.x_rates], tRates = [...network.t_rates], z = new Float64Array(2 * BLOCK);
  const { width, buffers, parts, memory, hidden, linear } = prepared(network);

  /** Writes the biases of all layers at one time. */
  function setBiases(t, sigma) {
    const level = Math.log(sigma) / Math.log(network.least_sigma);
    const clock = dense(network.clock, waves([2 * t - 1, 2 * level - 1], tRates)).map(silu);
    const shifts = dense(network.shift, clock);
    [...layers, head].forEach(({ bias }, l) => bias.forEach((v, o) => {
      memory[parts[l].bias + o] = v + (l < layers.length ? shifts[l * width + o] : 0);
    }));
  }

  /** The place of the network's outputs (2, BLOCK) at `rows` states in `z`. */
  function outputs(rows) {
    features(z, rows, xRates, memory);
    const states = whole(rows, TILE.states);
    return parts.reduce((h, { place, bias, n, outputs: m }, l) => {
      const layer = l < layers.length ? hidden : linear;
      layer(h, place, bias, buffers[l % 2], n, m, states);
      return buffers[l % 2];
    }, 0);
  }

  /** z = (x - shift) / spread, and velocity = slope (x - shift) + a x + fixed + gain bent(F(z)). */
  function numbers(c) {
    const { one, zero, a, b } = OBJECTIVES[network.objective](c);
    if (!network.preconditioned) return { a, slope: 0, spread: 1, shift: [0, 0], fixed: [0, 0], gain: b };
    const spread = Math.hypot(c.alpha * std, c.sigma);
    return {
      a, spread, slope: (b * (one * c.alpha * std * std + zero * c.sigma)) / (spread * spread),
      shift: [c.alpha * mean[0], c.alpha * mean[1]], fixed: [b * one * mean[0], b * one * mean[1]],
      gain: (b * Math.abs(one * c.sigma - zero * c.alpha) * std) / spread,
    };
  }

  return function velocity(t, x, out) {
    const c = coefficients(path, t), { a, slope, spread, shift, fixed, gain } = numbers(c);
    setBiases(t, c.sigma);
    for (let start = 0; start < x.length; start += 2 * BLOCK) {
      const rows = Math.min(BLOCK, (x.length - start) / 2);
      for (let q = 0; q < 2 * rows; q++) z[q] = (x[start + q] - shift[q & 1]) / spread;
      const free = outputs(rows);
      for (let q = 0; q < 2 * rows; q++) {
        const d = q & 1, at = start + q, value = memory[free + d * BLOCK + (q >> 1)];
        const bent = network.preconditioned ? bound * Math.tanh(value / bound) : value;
        out[at] = slope * (x[at] - shift[d]) + a * x[at] + fixed[d] + gain * bent;
      }
    }
  };
}
