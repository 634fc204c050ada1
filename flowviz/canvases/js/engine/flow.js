/** Flows and scenes of a model in the arrays of the player; see flowviz/canvases/player.py. */

import { locate } from "../base/clock.js";
import { exactField, learnedField } from "./fields.js";
import { noise } from "./noise.js";
import { coefficients } from "./schedulers.js";
import { evenGrid, solve, stepsWithin } from "./solve.js";
import { targetOf } from "./target.js";

/** Times of the pictures. */
const FRAMES = 41;
/** Rows and columns of densities and of arrows. */
const CELLS = 96, ARROWS = 20;
/** Points are kept up to this number of frames from the origin. */
const REACH = 4;
/** The quantile of a density that gets the brightest colour. */
const PEAK = 0.999;

/** An array with the shape that the player reads. */
const shaped = (array, ...shape) => Object.assign(array, { shape });

/** The field that moves the particles of a side {data, path, network}. */
function fieldOf(model, networks, { data, path, network }) {
  const parameters = model.paths[path];
  return network ? learnedField(networks.get(network), parameters) : exactField(model.data[data], parameters);
}

/** Coordinates as u16 over [-limit, limit]. */
function quantised(points, limit) {
  const out = new Uint16Array(points.length), unit = 65535 / 2;
  for (let q = 0; q < out.length; q++)
    out[q] = Math.round((Math.min(limit, Math.max(-limit, points[q])) / limit + 1) * unit);
  return out;
}

/** Mean distances of points (2 n) from others. */
function distance(a, b) {
  let sum = 0;
  for (let q = 0; q < a.length; q += 2) sum += Math.hypot(a[q] - b[q], a[q + 1] - b[q + 1]);
  return sum / (a.length / 2);
}

/** The states at even times, on the chords between the solver's steps. */
function frames(grid, states, times) {
  const size = states[0].length, out = new Float32Array(times.length * size);
  times.forEach((t, j) => {
    const { k, f } = locate(grid, t), a = states[k], b = states[Math.min(k + 1, states.length - 1)];
    for (let q = 0; q < size; q++) out[j * size + q] = a[q] + (b[q] - a[q]) * f;
  });
  return out;
}

/**
 * The particles of one side.
 * @param {any} model Data sets, paths and methods.
 * @param {Map<string, any>} networks
 * @param {any} side {data, path, network, method, nfe, seed, n}
 * @throws {Error} The solve diverged.
 */
export function flow(model, networks, side) {
  const field = fieldOf(model, networks, side), method = model.methods[side.method], { path } = field;
  const steps = stepsWithin(method, side.nfe), grid = evenGrid(path, steps);
  const start = noise(side.n, side.seed).map((v) => path.sigma_0 * v);
  const states = solve(field, method, grid, start), end = states.at(-1);
  if (!end.every(Number.isFinite)) throw new Error(`${method.label} diverged; take more steps.`);
  const length = states.slice(1).reduce((sum, state, k) => sum + distance(state, states[k]), 0);
  const largest = states.reduce((all, state) =>
    state.reduce((top, v) => Math.max(top, Math.abs(v)), all), model.frame);
  const limit = Math.min(largest, REACH * model.frame), times = evenGrid(path, FRAMES - 1), { n } = side;
  const all = new Float32Array(states.length * 2 * n);
  states.forEach((state, k) => all.set(state, k * 2 * n));
  return {
    limit, times: Float32Array.from(times), step_times: Float32Array.from(grid),
    states: shaped(quantised(frames(grid, states, [...times]), limit), FRAMES, n, 2),
    step_states: shaped(quantised(all, limit), states.length, n, 2),
    nfe: method.last + method.evaluations * (steps - 1),
    detour: length / distance(end, start),
    off: targetOf(model.data[side.data]).outside?.(end) ?? null,
  };
}

const axis = (frame, count) =>
  Float64Array.from({ length: count }, (_, i) => -frame + (2 * frame * i) / (count - 1));

/** Densities at all times: the square root as u8, and the density of the brightest colour at each time. */
function densities(target, path, times, frame) {
  const coordinates = axis(frame, CELLS), size = CELLS * CELLS, grid = new Float64Array(size);
  const out = new Uint8Array(times.length * size), peaks = new Float32Array(times.length);
  times.forEach((t, j) => {
    target.density(coefficients(path, t), coordinates, grid);
    const peak = (peaks[j] = Float32Array.from(grid).sort()[Math.floor(PEAK * (size - 1))]);
    for (let q = 0; q < size; q++)
      out[j * size + q] = Math.round(255 * Math.sqrt(Math.min(1, grid[q] / peak)));
  });
  return { density: shaped(out, times.length, CELLS, CELLS), density_peak: peaks };
}

/** Velocities at all times as i16 with one scale a time. */
function velocities(field, times, frame) {
  const coordinates = axis(frame, ARROWS), size = 2 * ARROWS * ARROWS, values = new Float64Array(size);
  const points = Float64Array.from({ length: size }, (_, q) =>
    coordinates[q & 1 ? Math.floor(q / (2 * ARROWS)) : (q >> 1) % ARROWS]);
  const out = new Int16Array(times.length * size), scales = new Float32Array(times.length), speeds = [];
  times.forEach((t, j) => {
    field.velocity(t, points, values);
    const scale = (scales[j] = values.reduce((top, v) => Math.max(top, Math.abs(v)), 1e-9) / 32767);
    for (let q = 0; q < size; q++) out[j * size + q] = Math.round(values[q] / scale);
    for (let q = 0; q < size; q += 2) speeds.push(Math.hypot(values[q], values[q + 1]));
  });
  const speed = Float64Array.from(speeds).sort()[speeds.length >> 1] || 1;
  return { velocity: shaped(out, times.length, ARROWS, ARROWS, 2), velocity_scale: scales, speed };
}

/** The density and the field behind the particles of a side. */
export function scene(model, networks, side) {
  const field = fieldOf(model, networks, side), data = model.data[side.data], { frame } = model;
  const times = [...evenGrid(field.path, FRAMES - 1)];
  return {
    frame, times: Float32Array.from(times),
    ...densities(targetOf(data), field.path, times, frame),
    ...velocities(field, times, frame),
    data: data.sample, data_limit: data.limit,
    labels: {
      density: "exact density p_t", difference: "", data: "data",
      field: side.network ? "learned velocity" : "exact velocity u_t",
    },
  };
}
