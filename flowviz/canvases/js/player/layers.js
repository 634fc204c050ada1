/** The layers of one panel: density, difference, data, field, trails and particles. */

import { locate } from "../base/clock.js";
import { arrowLength, decoding, projection } from "./geometry.js";
import { blended, paintDensity, paintDifference } from "./grids.js";
import { isStepped, momentOf, paintMarked } from "./marked.js";
import { disc, discMasks, line, triangle } from "./pixels.js";

export const LAYERS = ["particles", "trails", "density", "field", "data", "difference"];
/** Particles with a trail, at most about. */
const TRAILS = 160;

/** One arrow in the middle of its cell; `dot` is the size of a mark's unit in pixels. */
function paintArrow(s, x, y, ux, uy, length, dot, arrow, arrowOpacity) {
  const head = Math.min(length * 0.55, 4.6 * dot), wing = head * 0.42;
  const tipX = x + (ux * length) / 2, tipY = y + (uy * length) / 2;
  const neckX = tipX - ux * head, neckY = tipY - uy * head;
  line(s, x - (ux * length) / 2, y - (uy * length) / 2, neckX, neckY, 1.15 * dot, arrow, arrowOpacity);
  triangle(s, tipX, tipY, neckX - uy * wing, neckY + ux * wing, neckX + uy * wing, neckY - ux * wing,
    arrow, arrowOpacity);
}

/** Opacity of arrows where the density is below FAINT, as a share of that elsewhere. */
const FAINTEST = 0.35;
/** Of 255, which is the square root of the largest density: 1% of that density. */
const FAINT = 25.5;

/** The share of an arrow's opacity at node (i, j) of g x g: faint where nearly no data pass. */
function visibility(scene, k, i, j, g) {
  if (!scene.density) return 1;
  const h = scene.density.shape[1], node = (q) => Math.round((q * (h - 1)) / (g - 1));
  const value = scene.density[(k * h + node(j)) * h + node(i)];
  return FAINTEST + (1 - FAINTEST) * Math.min(1, value / FAINT);
}

function paintField(s, scene, { k, f }, { window, frame, look, dot }) {
  const { velocity, velocity_scale } = scene, g = velocity.shape[1], p = projection(s.w, window);
  const a = k * g * g * 2, b = f > 0 ? a + g * g * 2 : a;
  const wa = velocity_scale[k] * (1 - f), wb = f > 0 ? velocity_scale[k + 1] * f : 0;
  const spacing = ((2 * frame) / (g - 1)) * p.scale, stride = Math.max(1, Math.ceil((9 * dot) / spacing));
  const cell = Math.min(spacing * stride, 44 * dot), point = discMasks(0.7 * dot);
  for (let j = ((g - 1) % stride) >> 1; j < g; j += stride)
    for (let i = ((g - 1) % stride) >> 1; i < g; i += stride) {
      const x = p.left - frame * p.scale + i * spacing, y = p.top + frame * p.scale - j * spacing;
      if (x < -cell || y < -cell || x > s.w + cell || y > s.h + cell) continue;
      const q = 2 * (j * g + i);
      const vx = velocity[a + q] * wa + velocity[b + q] * wb;
      const vy = velocity[a + q + 1] * wa + velocity[b + q + 1] * wb;
      const speed = Math.hypot(vx, vy), length = arrowLength(speed, look.speed, cell);
      const opacity = look.arrowOpacity * visibility(scene, k, i, j, g);
      if (length < dot) disc(s, x, y, point, look.arrow, opacity);
      else // pixels count downwards
        paintArrow(s, x, y, vx / speed, -vy / speed, length, dot, look.arrow, opacity);
    }
}

/** Every `stride`-th of n particles has a trail. */
const trailStride = (n) => Math.max(1, Math.floor(n / TRAILS));

/** Trails of some particles up to the present, with a dot at each step if `dots`. */
function paintTrails(s, states, limit, { k, f }, { window, look, dot }, dots, origins) {
  const n = states.shape[1], { m, cx, cy } = decoding(s.w, window, limit);
  const width = (dots ? 1.2 : 1.1) * dot, small = discMasks(1.35 * dot), opacity = dots ? 130 : 120;
  for (let i = 0; i < n; i += trailStride(n)) {
    let x = states[2 * i] * m + cx, y = cy - states[2 * i + 1] * m;
    const colour = origins ? origins[i] : look.role;
    disc(s, x, y, small, origins ? colour : look.noise, 200);
    for (let q = 1; q <= k + (f > 0 ? 1 : 0); q++) {
      const at = (q * n + i) * 2;
      let x1 = states[at] * m + cx, y1 = cy - states[at + 1] * m;
      if (q > k) { x1 = x + (x1 - x) * f; y1 = y + (y1 - y) * f; }
      line(s, x, y, x1, y1, width, colour, opacity);
      x = x1; y = y1;
      if (dots) disc(s, x, y, small, colour, 230);
    }
  }
}

/** Three depths of particles from back to front: factor of the radius, share of the colour, opacity of the
 *  rim that parts a particle from those behind it. The mean area is that of one radius for all. */
const DEPTHS = [[0.84, 0.62, 0], [1, 0.84, 50], [1.14, 1, 90]];
/** Fewer particles than this are all in front. */
const CROWD = 400;

/** Every `stride`-th particle, in three depths by its index, which says nothing about the particle. */
function paintParticles(s, states, limit, { k, f }, { window, look, dot }, stride, opacity, origins) {
  const n = states.shape[1], { m, cx, cy } = decoding(s.w, window, limit);
  const a = k * n * 2, b = f > 0 ? a + n * 2 : a;
  const depths = n < CROWD * stride ? [[1, 1, 90]] : DEPTHS;
  depths.forEach(([size, share, rim], depth) => {
    const mask = discMasks(size * look.radius * dot), outer = discMasks(size * look.radius * dot + 0.7 * dot);
    const strength = (opacity * share) | 0, around = (opacity * rim) >> 8;
    for (let i = depth * stride; i < n; i += depths.length * stride) {
      const u = states[a + 2 * i], v = states[a + 2 * i + 1];
      const x = (u + (states[b + 2 * i] - u) * f) * m + cx;
      const y = cy - (v + (states[b + 2 * i + 1] - v) * f) * m;
      if (around) disc(s, x, y, outer, look.halo, around);
      disc(s, x, y, mask, origins ? origins[i] : look.role, strength);
    }
  });
}

function paintData(s, scene, { window, look, dot }) {
  const { data, data_limit, classes } = scene, { m, cx, cy } = decoding(s.w, window, data_limit);
  const mask = discMasks((classes ? 1.6 : 1.25) * dot);
  for (let i = 0; i < data.length; i += 2) {
    const colour = classes ? look.classes[classes[i / 2]] : look.data;
    disc(s, data[i] * m + cx, cy - data[i + 1] * m, mask, colour, classes ? 210 : 150);
  }
}

/** A grid of the scene at time t, in an array that is used again for the next frame. */
function gridAt(scene, name, { k, f }) {
  scene.scratch ??= {};
  scene.scratch[name] ??= new Float32Array(scene[name].shape[1] * scene[name].shape[2]);
  return blended(scene[name], k, f, scene.scratch[name]);
}

/** Multiplies the square roots in a grid. */
function magnify(grid, factor) {
  if (factor !== 1) for (let i = 0; i < grid.length; i++) grid[i] *= factor;
}

/**
 * One panel at time t: everything except axes and text.
 * @param {import("./pixels.js").Surface} s
 * @param {any} panel Of the payload; `origins` are the pixels of its particles, if they differ.
 * @param {any} scene Of the payload, or null.
 * @param {object} view
 * @param {number} view.t
 * @param {string} view.mode "smooth" or "steps".
 * @param {string[]} view.layers
 * @param {import("./geometry.js").Window} view.window
 * @param {number} view.frame Half-width of the plane.
 * @param {number} view.dot Pixels of the unit in which marks are measured.
 * @param {any} view.look {role, noise, data, arrow, classes (pixels), arrowOpacity, density,
 *   difference (ramps), differencePeak, speed, radius, opacity}.
 * @param {number | null} [view.marked] Index of the particle whose trajectory is shown.
 * @param {number} [view.densityRoot] Factor of the square root of the density, for a scale of several panels.
 * @param {any} [view.learned] A scene whose density replaces the exact density; it has its own times.
 */
export function paint(s, panel, scene, view) {
  const { t, layers, look, window, frame, learned = null, marked = null } = view;
  const on = (name) => layers.includes(name);
  const at = scene ? locate(scene.times, t) : null, shown = learned ?? scene;
  if (on("density") && shown?.density) {
    const grid = gridAt(shown, "density", locate(shown.times, t));
    magnify(grid, view.densityRoot ?? 1);
    paintDensity(s, grid, shown.density.shape[1], window, frame, look.density);
  } else s.px.fill(look.density[0]);
  if (on("difference") && scene?.difference) {
    const grid = gridAt(scene, "difference", at);
    magnify(grid, Math.sqrt((scene.difference_peak || 1) / look.differencePeak)); // one scale for all panels
    paintDifference(s, grid, scene.difference.shape[1], window, frame, look.difference);
  }
  if (on("data") && scene?.data) paintData(s, scene, view);
  if (on("field") && scene?.velocity) paintField(s, scene, at, view);
  const { states, ...moment } = momentOf(panel, view.mode, t);
  const particles = (stride, opacity) =>
    on("particles") && paintParticles(s, states, panel.limit, moment, view, stride, opacity, panel.origins);
  const faint = on("trails") || marked !== null ? 0.3 : 1; // so that lines can be followed
  particles(1, look.opacity * faint);
  if (on("trails")) {
    paintTrails(s, states, panel.limit, moment, view, isStepped(panel, view.mode), panel.origins);
    particles(trailStride(states.shape[1]), 256);
  }
  if (marked !== null) paintMarked(s, panel, marked, view);
}
