/** The exact field and density of boxes on a lattice: class Lattice of flowviz/fields/exact.py. */

import { erfcx, expBelow } from "./special.js";

const ROOT_HALF = Math.SQRT1_2;
const ROOT_2PI = Math.sqrt(2 * Math.PI);
/** If all intervals of z are longer, differences of probabilities keep 10 digits. */
const PLAIN = 0.003;
/** Intervals of z shorter than this, and than this over |z|, are evaluated by series. */
const SERIES = 0.03;
/** Sums below this may miss terms that underflow, and are computed in logarithms. */
const LOST = 1e-130;
/** The same of sums of `expBelow`, which has no numbers below 5e-18. */
const RARE = 1e-4;

/** The Mills ratio (1 - Phi(y)) / phi(y) for y >= 0. */
const mills = (y) => (ROOT_2PI / 2) * erfcx(y * ROOT_HALF);

/**
 * log of the mean density (up to a constant) and mean of z, standard normal in [low, high], and the place
 * of that mean in the interval as a share of its length from the middle.
 */
export function truncated(low, high) {
  const h = high - low, c = (low + high) / 2, tilt = h * Math.abs(c);
  if (h < SERIES && tilt < SERIES) {
    const c2 = c * c, h2 = h * h, relativeMean = ((-c * h) / 12) * (1 - h2 / 30 - (c2 * h2) / 60);
    const ratio = Math.log1p((h2 * (c2 - 1)) / 24 + (h2 * h2 * (c2 * (c2 - 6) + 3)) / 1920);
    return { log: ratio - c2 / 2, mean: c + h * relativeMean, relativeMean };
  }
  if (low < 0 && high > 0) {
    const below = Math.exp((-low * low) / 2), above = Math.exp((-high * high) / 2);
    const chance = ROOT_2PI - below * mills(-low) - above * mills(high), mean = (below - above) / chance;
    return { log: Math.log(chance / h), mean, relativeMean: (mean - c) / h };
  }
  const near = Math.min(Math.abs(low), Math.abs(high)), far = Math.max(Math.abs(low), Math.abs(high));
  const q = mills(near) - Math.exp(-tilt) * mills(far), mean = (-Math.sign(c) * Math.expm1(-tilt)) / q;
  return { log: Math.log(q / h) - (near * near) / 2, mean, relativeMean: (mean - c) / h };
}

/** One axis of the lattice with memory for its intervals. */
function axisOf(edges) {
  const count = edges.length - 1;
  const widths = Float64Array.from({ length: count }, (_, i) => edges[i + 1] - edges[i]);
  const chance = new Float64Array(count), slope = new Float64Array(count);
  /**
   * The probability of each interval and the difference of phi at its ends, over its width, for
   * z = (alpha edge - x) / sigma; both times exp(z^2 / 2) of the edge nearest to x where x lies outside.
   */
  function plain(alpha, sigma, x) {
    const at = (i) => (alpha * edges[i] - x) / sigma, first = at(0), last = at(count);
    const edge = first > 0 ? first : last < 0 ? last : 0, scale = (edge * edge) / 2;
    axis.from = count;
    axis.to = 0;
    let z = first, phi = expWide(scale - (z * z) / 2), tail = (erfcx(Math.abs(z) * ROOT_HALF) / 2) * phi;
    for (let i = 0; i < count; i++) {
      const next = at(i + 1), phiNext = expWide(scale - (next * next) / 2);
      const tailNext = phiNext ? (erfcx(Math.abs(next) * ROOT_HALF) / 2) * phiNext : 0;
      const inside = z < 0 && next >= 0 ? 1 - tail - tailNext : Math.abs(tail - tailNext);
      chance[i] = inside / widths[i];
      slope[i] = (phi - phiNext) / (widths[i] * ROOT_2PI);
      if (chance[i] || slope[i]) {
        if (i < axis.from) axis.from = i;
        axis.to = i + 1;
      }
      z = next; phi = phiNext; tail = tailNext;
    }
  }
  /** Intervals before `from` and after `to` have no share. */
  const axis = { edges, count, widths, chance, slope, plain, from: 0, to: count };
  return axis;
}

/** exp(v) for v <= 0, also of numbers that `expBelow` takes for 0; 0 below 1e-152. */
const expWide = (v) => (v > -40 ? expBelow(v) : v < -350 ? 0 : Math.exp(v));

/** The means of `cellwise` by sums of products; null where these underflow. */
function byProducts(xs, ys, weights) {
  const topX = Math.max(...xs.map(({ log }) => log)), topY = Math.max(...ys.map(({ log }) => log));
  const factorsY = ys.map(({ log }) => expBelow(log - topY));
  let mass = 0, dx = 0, dy = 0, ex = 0, ey = 0;
  xs.forEach((x, a) => {
    const factor = expBelow(x.log - topX), start = a * ys.length;
    let sum = 0, data = 0, mean = 0;
    for (let b = 0; b < ys.length; b++) {
      const share = weights[start + b] * factorsY[b];
      sum += share;
      data += share * ys[b].data;
      mean += share * ys[b].mean;
    }
    mass += factor * sum;
    dx += factor * sum * x.data;
    ex -= factor * sum * x.mean;
    dy += factor * data;
    ey -= factor * mean;
  });
  return mass > RARE ? [dx / mass, dy / mass, ex / mass, ey / mass] : null;
}

/** A function of alpha, sigma and a point: E[x_1 | x] and E[x_0 | x] of all filled cells, in logarithms. */
function cellwise(ax, ay, weights) {
  const filled = [...weights.keys()].filter((q) => weights[q] > 0);
  const logs = filled.map((q) => Math.log(weights[q]));
  const row = ({ edges, widths }, alpha, sigma, p) => Array.from(widths, (width, i) => {
    const [low, high] = [edges[i], edges[i + 1]].map((edge) => (alpha * edge - p) / sigma);
    const { log, mean, relativeMean } = truncated(low, high);
    return { log, mean, data: edges[i] + width * (0.5 + relativeMean) };
  });
  return (alpha, sigma, px, py) => {
    const xs = row(ax, alpha, sigma, px), ys = row(ay, alpha, sigma, py), means = byProducts(xs, ys, weights);
    if (means) return means;
    const pairs = filled.map((q) => [xs[Math.floor(q / ay.count)], ys[q % ay.count]]);
    const logits = pairs.map(([a, b], k) => logs[k] + a.log + b.log);
    const top = logits.reduce((a, b) => Math.max(a, b)), sums = [0, 0, 0, 0, 0];
    pairs.forEach(([a, b], k) => {
      const weight = expBelow(logits[k] - top);
      [1, a.data, b.data, -a.mean, -b.mean].forEach((value, d) => { sums[d] += weight * value; });
    });
    return sums.slice(1).map((sum) => sum / sums[0]);
  };
}

/** Sums over the cells of products of one factor for each axis. */
function gridDensity(ax, ay, weights, { alpha, sigma }, axis, out) {
  const h = axis.length;
  const factors = ({ edges, count }) => Float64Array.from({ length: h * count }, (_, q) => {
    const i = q % count, p = axis[Math.floor(q / count)];
    const { log } = truncated((alpha * edges[i] - p) / sigma, (alpha * edges[i + 1] - p) / sigma);
    return Math.exp(log) / (ROOT_2PI * sigma);
  });
  const factorsX = factors(ax), factorsY = factors(ay);
  const mixed = new Float64Array(h * ax.count);
  for (let j = 0; j < h; j++)
    for (let a = 0; a < ax.count; a++)
      for (let b = 0; b < ay.count; b++)
        mixed[j * ax.count + a] += weights[a * ay.count + b] * factorsY[j * ay.count + b];
  for (let j = 0, q = 0; j < h; j++)
    for (let i = 0; i < h; i++, q++) {
      out[q] = 0;
      for (let a = 0; a < ax.count; a++) out[q] += mixed[j * ax.count + a] * factorsX[i * ax.count + a];
    }
}

/** The share of points (2 n) that lie in no cell with weight. */
function shareOutside(ax, ay, weights, x) {
  const cell = ({ edges, count }, v) => {
    const upper = edges.findIndex((edge) => edge >= v);
    return v >= edges[0] && v <= edges[count] ? Math.max(0, upper - 1) : -1;
  };
  let outside = 0;
  for (let q = 0; q < x.length; q += 2) {
    const i = cell(ax, x[q]), j = cell(ay, x[q + 1]);
    if (i < 0 || j < 0 || !weights[i * ay.count + j]) outside += 1;
  }
  return outside / (x.length / 2);
}

/**
 * A target like `mixtureTarget`.
 * @param {any} boxes {edges_x, edges_y, weights (nx, ny)}
 */
export function boxesTarget({ edges_x, edges_y, weights }) {
  const ax = axisOf(edges_x), ay = axisOf(edges_y), narrowest = Math.min(...ax.widths, ...ay.widths);
  const careful = cellwise(ax, ay, weights);
  function velocity({ alpha, sigma, dAlpha, dSigma }, x, out) {
    const all = (alpha * narrowest) / sigma < PLAIN;
    for (let i = 0; i < x.length; i += 2) {
      const px = x[i], py = x[i + 1];
      let mass = 0, nx = 0, ny = 0;
      if (!all) {
        ax.plain(alpha, sigma, px);
        ay.plain(alpha, sigma, py);
        for (let a = ax.from; a < ax.to; a++) {
          let along = 0, pull = 0;
          for (let b = ay.from, q = a * ay.count + b; b < ay.to; b++, q++) {
            along += weights[q] * ay.chance[b];
            pull += weights[q] * ay.slope[b];
          }
          mass += ax.chance[a] * along;
          nx -= ax.slope[a] * along;
          ny -= ax.chance[a] * pull;
        }
      }
      if (mass < LOST) {
        const [dx, dy, ex, ey] = careful(alpha, sigma, px, py);
        out[i] = dAlpha * dx + dSigma * ex;
        out[i + 1] = dAlpha * dy + dSigma * ey;
      } else {
        nx /= mass;
        ny /= mass;
        out[i] = (dAlpha * (px - sigma * nx)) / alpha + dSigma * nx;
        out[i + 1] = (dAlpha * (py - sigma * ny)) / alpha + dSigma * ny;
      }
    }
  }
  return {
    velocity,
    density: (c, axis, out) => gridDensity(ax, ay, weights, c, axis, out),
    outside: (x) => shareOutside(ax, ay, weights, x),
  };
}
