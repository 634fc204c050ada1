/**
 * The posterior over data given x_t = x, in float64 and by the formulas of flowviz/fields/posterior.py,
 * against which it is tested. `c` holds alpha, sigma and their derivatives at one time.
 */

import { truncated } from "../engine/boxes.js";

const LOG_2PI = Math.log(2 * Math.PI);

/** Arrays for a posterior over n parts: weights, means of data and of noise given the part. */
export const workspace = (n) =>
  ({ n, w: new Float64Array(n), data: new Float64Array(2 * n), noise: new Float64Array(2 * n) });

/** Replaces log weights in p.w by weights that sum to 1; returns the log of their sum. */
function normalised(p) {
  let top = -Infinity, sum = 0;
  for (let i = 0; i < p.n; i++) if (p.w[i] > top) top = p.w[i];
  for (let i = 0; i < p.n; i++) sum += p.w[i] = Math.exp(p.w[i] - top);
  for (let i = 0; i < p.n; i++) p.w[i] /= sum;
  return top + Math.log(sum);
}

/** The posterior over equally likely points (x, y, x, y, ...) given x_t = (x, y). */
export function overPoints(points, c, x, y, p = workspace(points.length / 2)) {
  for (let i = 0; i < p.n; i++) {
    const u = (x - c.alpha * points[2 * i]) / c.sigma, v = (y - c.alpha * points[2 * i + 1]) / c.sigma;
    p.w[i] = -(u * u + v * v) / 2;
    p.data[2 * i] = points[2 * i]; p.data[2 * i + 1] = points[2 * i + 1];
    p.noise[2 * i] = u; p.noise[2 * i + 1] = v;
  }
  p.logDensity = normalised(p) - Math.log(p.n) - LOG_2PI - 2 * Math.log(c.sigma);
  return p;
}

/**
 * The parts of positive weight of a distribution that Python sent (flowviz/site/parameters.py): Gaussians,
 * or boxes with their places [column, row] in the lattice. `logs` are their log weights.
 */
export function partsOf({ kind, weights, edges_x, edges_y, means, covariances, log_weights: logs }) {
  if (kind !== "boxes") return { kind, means, covariances, logs };
  const filled = [...weights.keys()].filter((q) => weights[q] > 0), rows = edges_y.length - 1;
  const cells = filled.map((q) => [Math.floor(q / rows), q % rows]);
  return { kind, edges_x, edges_y, cells, logs: filled.map((q) => Math.log(weights[q])) };
}

/** The posterior over parts, as `part_posterior`. */
export const overParts = (parts, c, x, y, p = workspace(parts.logs.length)) =>
  (parts.kind === "boxes" ? overBoxes : overGaussians)(parts, c, x, y, p);

function overGaussians({ means, covariances, logs }, { alpha, sigma }, x, y, p) {
  const gain = alpha * alpha, noise = sigma * sigma;
  for (let k = 0; k < p.n; k++) {
    const mx = means[2 * k], my = means[2 * k + 1], ox = x - alpha * mx, oy = y - alpha * my;
    const [xx, xy, yy] = covariances.subarray(3 * k, 3 * k + 3);
    const a = gain * xx + noise, b = gain * xy, d = gain * yy + noise, det = a * d - b * b;
    const px = (d * ox - b * oy) / det, py = (a * oy - b * ox) / det;
    p.w[k] = logs[k] - (ox * px + oy * py + Math.log(det)) / 2;
    p.data[2 * k] = mx + alpha * (xx * px + xy * py); p.data[2 * k + 1] = my + alpha * (xy * px + yy * py);
    p.noise[2 * k] = sigma * px; p.noise[2 * k + 1] = sigma * py;
  }
  p.logDensity = normalised(p) - LOG_2PI;
  return p;
}

/** Moments along one axis in each of its intervals. */
function intervals(edges, c, x) {
  const out = [];
  for (let i = 0; i + 1 < edges.length; i++) {
    const z = truncated((c.alpha * edges[i] - x) / c.sigma, (c.alpha * edges[i + 1] - x) / c.sigma);
    const width = edges[i + 1] - edges[i];
    const data = (edges[i] + edges[i + 1]) / 2 + width * z.relativeMean;
    out.push({ log: z.log - LOG_2PI / 2, data, noise: -z.mean });
  }
  return out;
}

function overBoxes(d, c, x, y, p) {
  const alongX = intervals(d.edges_x, c, x), alongY = intervals(d.edges_y, c, y);
  for (let k = 0; k < p.n; k++) {
    const [i, j] = d.cells[k], a = alongX[i], b = alongY[j];
    p.w[k] = d.logs[k] + a.log + b.log;
    p.data[2 * k] = a.data; p.data[2 * k + 1] = b.data;
    p.noise[2 * k] = a.noise; p.noise[2 * k + 1] = b.noise;
  }
  p.logDensity = normalised(p) - 2 * Math.log(c.sigma);
  return p;
}

/** Mean velocity (u, v) and its length, mean of the data, effective number of parts, root mean square
 *  distance of the conditional velocities from their mean, index of the heaviest part. */
export function summary(p, c) {
  let mx = 0, my = 0, ex = 0, ey = 0, squares = 0, best = 0;
  for (let i = 0; i < p.n; i++) {
    const w = p.w[i];
    mx += w * p.data[2 * i]; my += w * p.data[2 * i + 1];
    ex += w * p.noise[2 * i]; ey += w * p.noise[2 * i + 1];
    squares += w * w;
    if (w > p.w[best]) best = i;
  }
  const u = c.dAlpha * mx + c.dSigma * ex, v = c.dAlpha * my + c.dSigma * ey;
  let spread = 0;
  for (let i = 0; i < p.n; i++) {
    const du = c.dAlpha * p.data[2 * i] + c.dSigma * p.noise[2 * i] - u;
    const dv = c.dAlpha * p.data[2 * i + 1] + c.dSigma * p.noise[2 * i + 1] - v;
    spread += p.w[i] * (du * du + dv * dv);
  }
  return { u, v, speed: Math.hypot(u, v), mx, my, effective: 1 / squares, spread: Math.sqrt(spread), best };
}
