/** The exact field and density of Gaussian mixtures and points; see flowviz/fields/exact.py. */

import { LEAST, expBelow } from "./special.js";

/**
 * A target of the components of a mixture: `velocity(c, x, out)` writes the marginal velocities at points
 * x (2 n) and coefficients c to out (2 n); `density(c, axis, out)` the densities on a square grid.
 * @param {any} mixture {means (K, 2), covariances (K, 3): xx, xy, yy; log_weights (K)}
 */
export function mixtureTarget({ means, covariances, log_weights: logs }) {
  const variance = covariances[0];
  const same = logs.every((_, k) =>
    covariances[3 * k] === variance && covariances[3 * k + 1] === 0 && covariances[3 * k + 2] === variance);
  return same ? round(means, variance, logs) : tilted(means, covariances, logs);
}

/** Components of one variance in all directions. */
function round(means, variance, logs) {
  const count = logs.length, logits = new Float64Array(count), table = new Float64Array(3 * count);
  function velocity({ alpha, sigma, dAlpha, dSigma }, x, out) {
    const spread = alpha * alpha * variance + sigma * sigma;
    const gain = (dAlpha * alpha * variance + dSigma * sigma) / spread;
    for (let k = 0; k < count; k++) { // logits are linear in x, up to a common term
      const mx = means[2 * k], my = means[2 * k + 1], by = alpha / spread;
      table[3 * k] = by * mx;
      table[3 * k + 1] = by * my;
      table[3 * k + 2] = logs[k] - (by * alpha * (mx * mx + my * my)) / 2;
    }
    for (let i = 0; i < x.length; i += 2) {
      const px = x[i], py = x[i + 1];
      let top = -Infinity;
      for (let k = 0, q = 0; k < count; k++, q += 3) {
        const logit = (logits[k] = px * table[q] + py * table[q + 1] + table[q + 2]);
        if (logit > top) top = logit;
      }
      const minLogit = top + LEAST;
      let mass = 0, mx = 0, my = 0;
      for (let k = 0; k < count; k++) {
        if (logits[k] < minLogit) continue;
        const weight = expBelow(logits[k] - top);
        mass += weight;
        mx += weight * means[2 * k];
        my += weight * means[2 * k + 1];
      }
      mx /= mass;
      my /= mass;
      out[i] = dAlpha * mx + gain * (px - alpha * mx);
      out[i + 1] = dAlpha * my + gain * (py - alpha * my);
    }
  }
  /** The density is a sum of products of one factor for each axis. */
  function density({ alpha, sigma }, axis, out) {
    const spread = alpha * alpha * variance + sigma * sigma, half = -0.5 / spread, h = axis.length;
    const along = [0, 1].map((d) => Float64Array.from({ length: h * logs.length }, (_, q) => {
      const gap = axis[q % h] - alpha * means[2 * Math.floor(q / h) + d];
      return Math.exp(half * gap * gap);
    }));
    out.fill(0);
    for (let k = 0; k < logs.length; k++) {
      const weight = Math.exp(logs[k]) / (2 * Math.PI * spread);
      for (let j = 0; j < h; j++) {
        const row = weight * along[1][k * h + j];
        if (row > 1e-12) for (let i = 0; i < h; i++) out[j * h + i] += row * along[0][k * h + i];
      }
    }
  }
  return { velocity, density };
}

/** Components of any covariances: at one time, each has a precision matrix (xx, xy, yy) and a level. */
function tilted(means, covariances, logs) {
  const count = logs.length, logits = new Float64Array(count), table = new Float64Array(4 * count);
  const velocities = new Float64Array(3 * count);
  /** Fills the tables at coefficients c: density, and dAlpha alpha C + dSigma sigma I times precision. */
  function prepare({ alpha, sigma, dAlpha, dSigma }) {
    for (let k = 0; k < count; k++) {
      const [xx, xy, yy] = covariances.subarray(3 * k, 3 * k + 3);
      const a = alpha * alpha * xx + sigma * sigma, b = alpha * alpha * xy;
      const d = alpha * alpha * yy + sigma * sigma, det = a * d - b * b;
      table.set([d / det, -b / det, a / det, logs[k] - Math.log(det) / 2], 4 * k);
      const ga = dAlpha * alpha * xx + dSigma * sigma, gb = dAlpha * alpha * xy;
      const gd = dAlpha * alpha * yy + dSigma * sigma; // both matrices are functions of C and commute
      velocities.set([(ga * d - gb * b) / det, (gb * a - ga * b) / det, (gd * a - gb * b) / det], 3 * k);
    }
  }
  /** The logits at (px, py); returns their maximum. */
  function weigh(alpha, px, py) {
    let top = -Infinity;
    for (let k = 0; k < count; k++) {
      const dx = px - alpha * means[2 * k], dy = py - alpha * means[2 * k + 1], q = 4 * k;
      const form = table[q] * dx * dx + 2 * table[q + 1] * dx * dy + table[q + 2] * dy * dy;
      const logit = (logits[k] = table[q + 3] - form / 2);
      if (logit > top) top = logit;
    }
    return top;
  }
  function velocity(c, x, out) {
    const { alpha, dAlpha } = c;
    prepare(c);
    for (let i = 0; i < x.length; i += 2) {
      const px = x[i], py = x[i + 1], top = weigh(alpha, px, py);
      let mass = 0, ux = 0, uy = 0;
      for (let k = 0; k < count; k++) {
        const weight = expBelow(logits[k] - top);
        if (!weight) continue;
        const dx = px - alpha * means[2 * k], dy = py - alpha * means[2 * k + 1], q = 3 * k;
        mass += weight;
        ux += weight * (dAlpha * means[2 * k] + velocities[q] * dx + velocities[q + 1] * dy);
        uy += weight * (dAlpha * means[2 * k + 1] + velocities[q + 1] * dx + velocities[q + 2] * dy);
      }
      out[i] = ux / mass;
      out[i + 1] = uy / mass;
    }
  }
  function density(c, axis, out) {
    const h = axis.length;
    prepare(c);
    for (let q = 0; q < h * h; q++) {
      const top = weigh(c.alpha, axis[q % h], axis[Math.floor(q / h)]);
      let mass = 0;
      for (let k = 0; k < count; k++) mass += expBelow(logits[k] - top);
      out[q] = (Math.exp(top) * mass) / (2 * Math.PI);
    }
  }
  return { velocity, density };
}
