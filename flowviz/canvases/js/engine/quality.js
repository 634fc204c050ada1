/** The error and the quality of samples against their cost, of exact fields. */

import { dequantised } from "../base/wire.js";
import { exactField } from "./fields.js";
import { gridOf } from "./grids.js";
import { noise } from "./noise.js";
import { solve, stepsWithin } from "./solve.js";
import { targetOf } from "./target.js";

/** The solve that counts as exact. */
const FINE = { method: "rk4", grid: "log-snr", steps: 100 };
/** Points of the data set to which samples are compared. */
const REFERENCE = 1_000;

/** The mean distance over all pairs of points x (2 n) and y (2 m). */
function meanDistance(x, y) {
  let sum = 0;
  for (let i = 0; i < x.length; i += 2)
    for (let j = 0; j < y.length; j += 2) {
      const dx = x[i] - y[j], dy = x[i + 1] - y[j + 1];
      sum += Math.sqrt(dx * dx + dy * dy);
    }
  return (4 * sum) / (x.length * y.length);
}

/** The energy distance of two sets of points; see `_energy` of flowviz/metrics/plane.py. */
export function energyDistance(x, y, withinY = meanDistance(y, y)) {
  return Math.max(0, 2 * meanDistance(x, y) - meanDistance(x, x) - withinY);
}

/** A function of a key and a function, which is called once for each key. */
function remembered(limit = 12) {
  const known = new Map();
  return (key, make) => {
    if (!known.has(key)) known.set(key, make());
    if (known.size > limit) known.delete(known.keys().next().value);
    return known.get(key);
  };
}
const exact = remembered(), references = remembered();

/** Points of a data set, (2 REFERENCE), with the mean distance of their pairs. */
function referenceOf({ sample, limit }) {
  const points = dequantised(sample.subarray(0, 2 * REFERENCE), limit);
  return { points, within: meanDistance(points, points) };
}

/**
 * One solve of an exact field: its NFE, its mean squared error per dimension, the energy distance of its end
 * points to the data, and the share of them off the data (null for data that are positive everywhere).
 * @param {any} model Data sets, paths and methods.
 * @param {Map<string, any>} _networks
 * @param {any} side {data, path, method, nfe, grid, seed, n}
 */
export function quality(model, _networks, { data, path, method, nfe, grid, seed, n }) {
  const target = model.data[data], field = exactField(target, model.paths[path]);
  const solver = model.methods[method];
  const start = noise(n, seed).map((v) => field.path.sigma_0 * v), steps = stepsWithin(solver, nfe);
  const endOf = (by, times) => solve(field, by, times, start).at(-1);
  const exactEnd = exact([data, path, seed, n, ...(model.paths[path].alpha_cubics ?? [])].join(), () =>
    endOf(model.methods[FINE.method], gridOf(field.path, FINE.steps, FINE.grid)));
  const end = endOf(solver, gridOf(field.path, steps, grid));
  const error = end.reduce((sum, v, q) => sum + (v - exactEnd[q]) ** 2, 0) / end.length;
  const { points, within } = references(data, () => referenceOf(target));
  return {
    nfe: solver.last + solver.evaluations * (steps - 1), error, energy: energyDistance(end, points, within),
    "off-support": targetOf(target).outside?.(end) ?? null,
  };
}
