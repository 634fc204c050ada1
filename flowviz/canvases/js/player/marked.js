/** One particle and its twin in the other panels: the same index, so the same noise. */

import { locate, stepAt } from "../base/clock.js";
import { decoding } from "./geometry.js";
import { disc, discMasks, line } from "./pixels.js";

/** Pixels of the page within which a particle is under the pointer. */
const REACH = 12;

/** Whether a panel shows the states of its steps only; between jumps there are no others. */
export const isStepped = (panel, mode) => mode === "steps" || Boolean(panel.jumps);

/** The states of a panel that are shown, and the moment of time t in them. */
export function momentOf(panel, mode, t) {
  return isStepped(panel, mode)
    ? { states: panel.step_states, k: stepAt(panel.steps, t), f: 0 }
    : { states: panel.states, ...locate(panel.times, t) };
}

/**
 * The index of the particle nearest to (x, y) pixels of a plane of `width` pixels, or null.
 * @param {import("./geometry.js").Window} window
 */
export function nearest(panel, mode, t, window, width, x, y) {
  const { states, k, f } = momentOf(panel, mode, t), n = states.shape[1];
  const { m, cx, cy } = decoding(width, window, panel.limit);
  const a = 2 * k * n, b = f > 0 ? a + 2 * n : a;
  let best = null, least = REACH * REACH;
  for (let i = 0; i < n; i++) {
    const u = states[a + 2 * i] + (states[b + 2 * i] - states[a + 2 * i]) * f;
    const v = states[a + 2 * i + 1] + (states[b + 2 * i + 1] - states[a + 2 * i + 1]) * f;
    const distance = (u * m + cx - x) ** 2 + (cy - v * m - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/** Paints the whole trajectory of particle i, its start, its end and its present place. */
export function paintMarked(s, panel, i, { mode, t, window, look, dot }) {
  const { states, k, f } = momentOf(panel, mode, t), [steps, n] = states.shape;
  if (i >= n) return;
  const { m, cx, cy } = decoding(s.w, window, panel.limit);
  const at = (q) => [states[2 * (q * n + i)] * m + cx, cy - states[2 * (q * n + i) + 1] * m];
  const ink = look.arrow, small = discMasks(2.4 * dot);
  for (let q = 1; q < steps; q++) {
    line(s, ...at(q - 1), ...at(q), 2 * dot, ink, 230);
    if (panel.jumps) disc(s, ...at(q), small, ink, 256);
  }
  disc(s, ...at(0), small, look.noise, 256);
  disc(s, ...at(steps - 1), small, ink, 256);
  const [x, y] = at(k), [x1, y1] = f > 0 ? at(k + 1) : [x, y];
  disc(s, x + (x1 - x) * f, y + (y1 - y) * f, discMasks(5.5 * dot), ink, 256);
  disc(s, x + (x1 - x) * f, y + (y1 - y) * f, discMasks(3.8 * dot), panel.origins?.[i] ?? look.role, 256);
}

/** The largest distance of the ends of particle i in two of the panels. */
export function endsApart(panels, i) {
  const ends = panels.map(({ states, limit }) => {
    const [steps, n] = states.shape, at = 2 * ((steps - 1) * n + i), unit = (2 * limit) / 65535;
    return [states[at] * unit - limit, states[at + 1] * unit - limit];
  });
  return Math.max(...ends.flatMap(([x, y]) => ends.map(([u, v]) => Math.hypot(x - u, y - v))));
}
