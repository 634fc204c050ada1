/**
 * The posterior over data given x_t = x, in float64 and by the formulas of flowviz/fields/posterior.py,
 * against which it is tested. `c` holds alpha, sigma and their derivatives at one time.
 */

import { truncated } from "../engine/boxes.js";

const LOG_2PI = Math.log(2 * Math.PI);

/** Arrays for a posterior over n parts: weights, means of data and of noise given the part. */
export const room = (n) =>
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
export function overPoints(points, c, x, y, p = room(points.length / 2)) {
  for (let i = 0; i < p.n; i++) {
    const u = (x - c.alpha * points[2 * i]) / c.sigma, v = (y - c.alpha * points[2 * i + 1]) / c.sigma;
    p.w[i] = -(u * u + v * v) / 2;
    p.data[2 * i] = points[2 * i]; p.data[2 * i + 1] = points[2 * i + 1];
    p.noise[2 * i] = u; p.noise[2 * i + 1] = v;
  }
  p.logDensity = normalised(p) - Math.log(p.n) - LOG_2PI - 2 * Math.log(c.sigma);
  return p;
}

/** The posterior over the parts of a distribution, as `part_posterior`: Gaussians or boxes. */
export const overParts = (d, c, x, y, p = room(d.weights.length)) =>
  (d.kind === "boxes" ? overBoxes : overGaussians)(d, c, x, y, p);

function overGaussians(d, c, x, y, p) {
  for (let k = 0; k < p.n; k++) {
    const ox = x - c.alpha * d.means[2 * k], oy = y - c.alpha * d.means[2 * k + 1];
    let logit = Math.log(d.weights[k]), mx = d.means[2 * k], my = d.means[2 * k + 1], ex = 0, ey = 0;
    for (let e = 0; e < 2; e++) { // eigenvectors are columns
      const ax = d.axes[4 * k + e], ay = d.axes[4 * k + 2 + e], v = d.variances[2 * k + e];
      const along = ox * ax + oy * ay, spread = c.alpha * c.alpha * v + c.sigma * c.sigma;
      logit -= ((along * along) / spread + Math.log(spread)) / 2;
      const m = ((c.alpha * v) / spread) * along, n = (c.sigma * along) / spread;
      mx += m * ax; my += m * ay; ex += n * ax; ey += n * ay;
    }
    p.w[k] = logit;
    p.data[2 * k] = mx; p.data[2 * k + 1] = my;
    p.noise[2 * k] = ex; p.noise[2 * k + 1] = ey;
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
    const data = (edges[i] + edges[i + 1]) / 2 + width * z.place;
    out.push({ log: z.log - LOG_2PI / 2, data, noise: -z.mean });
  }
  return out;
}

function overBoxes(d, c, x, y, p) {
  const alongX = intervals(d.edges_x, c, x), alongY = intervals(d.edges_y, c, y);
  for (let k = 0; k < p.n; k++) {
    const a = alongX[d.cells[2 * k]], b = alongY[d.cells[2 * k + 1]];
    p.w[k] = Math.log(d.weights[k]) + a.log + b.log;
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
  const u = c.d_alpha * mx + c.d_sigma * ex, v = c.d_alpha * my + c.d_sigma * ey;
  let spread = 0;
  for (let i = 0; i < p.n; i++) {
    const du = c.d_alpha * p.data[2 * i] + c.d_sigma * p.noise[2 * i] - u;
    const dv = c.d_alpha * p.data[2 * i + 1] + c.d_sigma * p.noise[2 * i + 1] - v;
    spread += p.w[i] * (du * du + dv * dv);
  }
  return { u, v, speed: Math.hypot(u, v), mx, my, effective: 1 / squares, spread: Math.sqrt(spread), best };
}

/** p_t on a grid of n x n cells over [-frame, frame]^2, row 0 on top, as a Float64Array. */
export function densityGrid(d, c, frame, n) {
  const out = new Float64Array(n * n), at = (i) => -frame + ((i + 0.5) * 2 * frame) / n;
  (d.kind === "boxes" ? boxesGrid : gaussiansGrid)(d, c, n, at, out);
  return out;
}

function boxesGrid(d, c, n, at, out) {
  const along = (edges) => Array.from({ length: n }, (_, i) =>
    intervals(edges, c, at(i)).map((z) => Math.exp(z.log) / c.sigma));
  const px = along(d.edges_x), py = along(d.edges_y), columns = d.edges_x.length - 1;
  for (let j = 0; j < n; j++) {
    const over = new Float64Array(columns);
    for (let k = 0; k < d.weights.length; k++)
      over[d.cells[2 * k]] += d.weights[k] * py[n - 1 - j][d.cells[2 * k + 1]];
    for (let i = 0; i < n; i++)
      for (let a = 0; a < columns; a++) out[j * n + i] += px[i][a] * over[a];
  }
}

function gaussiansGrid(d, c, n, at, out) {
  const bell = (z, s) => Math.exp((-z * z) / (2 * s)) / Math.sqrt(2 * Math.PI * s);
  for (let k = 0; k < d.weights.length; k++) {
    const [axx, bxx, ayx, byx] = d.axes.slice(4 * k, 4 * k + 4), aligned = bxx === 0 && ayx === 0;
    const s = [0, 1].map((e) => c.alpha * c.alpha * d.variances[2 * k + e] + c.sigma * c.sigma);
    const mx = c.alpha * d.means[2 * k], my = c.alpha * d.means[2 * k + 1];
    if (aligned) {
      const px = Array.from({ length: n }, (_, i) => bell(at(i) - mx, s[0]));
      for (let j = 0; j < n; j++) {
        const q = d.weights[k] * bell(at(n - 1 - j) - my, s[1]);
        if (q > 1e-12) for (let i = 0; i < n; i++) out[j * n + i] += q * px[i];
      }
    } else for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
      const ox = at(i) - mx, oy = at(n - 1 - j) - my;
      out[j * n + i] += d.weights[k] * bell(ox * axx + oy * ayx, s[0]) * bell(ox * bxx + oy * byx, s[1]);
    }
  }
}
