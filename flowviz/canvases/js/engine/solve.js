/** Fixed-step solvers: flowviz/methods, which sends the tableaus. */

import { coefficients, wronskian } from "./schedulers.js";

/** A step more than this times as long in lambda as the one before ignores that one. */
const MAX_GROWTH = 2;

/** out = x + dt times the sum of weights times slopes. */
function addSlopes(x, dt, weights, slopes, out) {
  out.set(x);
  weights.forEach((weight, s) => {
    const factor = dt * weight, slope = slopes[s];
    if (factor) for (let q = 0; q < out.length; q++) out[q] += factor * slope[q];
  });
}

/** A step of an explicit Runge-Kutta method with weights b and rows a. */
function rungeKutta({ weights, rows }, field, t, next, x) {
  const dt = next - t, slopes = [];
  [[], ...rows].forEach((row) => {
    const node = row.reduce((sum, each) => sum + each, 0), slope = new Float64Array(x.length);
    const time = Math.abs(node - 1) < 1e-12 ? next : t + node * dt;
    let state = x;
    if (slopes.length) addSlopes(x, dt, row, slopes, (state = new Float64Array(x.length)));
    field.velocity(time, state, slope);
    slopes.push(slope);
  });
  const out = new Float64Array(x.length);
  addSlopes(x, dt, weights, slopes, out);
  return out;
}

/** The line through the last two velocities; the first step is Euler's. */
function* adamsBashforth2(field, grid, x) {
  let previous = null, length = 0;
  for (let i = 1; i < grid.length; i++) {
    const h = grid[i] - grid[i - 1], u = new Float64Array(x.length), ratio = previous ? h / (2 * length) : 0;
    field.velocity(grid[i - 1], x, u);
    x = x.map((v, q) => v + h * (previous ? u[q] + ratio * (u[q] - previous[q]) : u[q]));
    yield x;
    previous = u;
    length = h;
  }
}

/** The steps of exponential methods, see flowviz/methods/multistep.py. */
function exponential(field, grid) {
  const coefficientsAt = Array.from(grid, (t) => coefficients(field.path, t));
  const levels = coefficientsAt.map(({ alpha, sigma }) =>
    (alpha === 0 ? -Infinity : Math.log(alpha / sigma)));
  const lengths = levels.map((level, i) => (i ? level - levels[i - 1] : NaN));
  /** Length of step i over that of the step before; 0 if that one is not to be used. */
  const growth = (i, previous) => {
    const ratio = previous && lengths[i] !== Infinity ? lengths[i] / lengths[i - 1] : 0;
    return ratio <= MAX_GROWTH ? ratio : 0;
  };
  return {
    growth, lengths,
    /** E[x_1 | x] at time i of the grid, by one evaluation. */
    predict(i, x) {
      const u = new Float64Array(x.length), c = coefficientsAt[i], w = wronskian(c);
      field.velocity(grid[i], x, u);
      return u.map((v, q) => (c.sigma * v - c.dSigma * x[q]) / w);
    },
    step(i, x, average) {
      const last = coefficientsAt[i - 1], { alpha, sigma } = coefficientsAt[i];
      const ratio = sigma / last.sigma, gain = alpha - ratio * last.alpha;
      return x.map((v, q) => ratio * v + gain * average[q]);
    },
    extrapolated(i, m, previous) {
      const ratio = growth(i, previous) / 2;
      return ratio ? m.map((v, q) => v + ratio * (v - previous[q])) : m;
    },
  };
}

function* ddim(field, grid, x) {
  const line = exponential(field, grid);
  for (let i = 1; i < grid.length; i++) yield (x = line.step(i, x, line.predict(i - 1, x)));
}

function* dpmSolver2M(field, grid, x) {
  const line = exponential(field, grid);
  let previous = null;
  for (let i = 1; i < grid.length; i++) {
    const m = line.predict(i - 1, x);
    yield (x = line.step(i, x, line.extrapolated(i, m, previous)));
    previous = m;
  }
}

/** The average over step i of the parabola through three predictions. */
function corrected(line, i, m, previous, following) {
  const growth = line.growth(i, previous);
  if (growth === 0) return m.map((v, q) => (v + following[q]) / 2);
  const h = line.lengths[i], w = 1 / growth, total = -Math.expm1(-h) / h;
  const first = (1 - total) / (h * total), second = (1 / total - 2 * first) / h;
  return m.map((v, q) => {
    const b = (previous[q] - v + w * (following[q] - v)) / (w * w + w);
    return v + first * (following[q] - v - b) + second * b;
  });
}

function* unipc2(field, grid, x) {
  const line = exponential(field, grid), last = grid.length - 1;
  let previous = null, m = line.predict(0, x);
  for (let i = 1; i <= last; i++) {
    const predicted = line.step(i, x, line.extrapolated(i, m, previous));
    if (i === last) {
      yield predicted;
      return;
    }
    const following = line.predict(i, predicted);
    yield (x = line.step(i, x, corrected(line, i, m, previous, following)));
    previous = m;
    m = following;
  }
}

const MULTISTEP = {
  adams_bashforth_2: adamsBashforth2, ddim, dpm_solver_2m: dpmSolver2M, unipc_2: unipc2,
};

/**
 * The states at the times of a grid, the first included.
 * @param {{path: any, velocity: (t: number, x: Float64Array, out: Float64Array) => void}} field
 * @param {any} method {step, final}: {weights, rows} or {multistep}, the name of a function above.
 * @param {ArrayLike<number>} grid (S + 1) increasing times.
 * @param {Float64Array} x States at grid[0], (2 n).
 * @returns {Float64Array[]}
 */
export function solve(field, { step, final }, grid, x) {
  if (step.multistep) return [x, ...MULTISTEP[step.multistep](field, grid, x)];
  const states = [x];
  for (let i = 1; i < grid.length; i++) {
    const tableau = final && i === grid.length - 1 ? final : step;
    states.push(rungeKutta(tableau, field, grid[i - 1], grid[i], states[i - 1]));
  }
  return states;
}

/** steps + 1 even times from 0 to the end of a path. */
export const evenGrid = (path, steps) =>
  Float64Array.from({ length: steps + 1 }, (_, k) => (k === steps ? path.t_max : (path.t_max * k) / steps));

/** The number of steps that take `nfe` evaluations, at least 1. */
export function stepsWithin({ evaluations, last }, nfe) {
  return Math.max(1, Math.floor((nfe - last) / evaluations) + 1);
}
