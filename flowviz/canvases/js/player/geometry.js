/** The window onto the plane: {x, y, r} with centre and half-width. */

import { clamp } from "../base/numbers.js";

/** @typedef {{x: number, y: number, r: number}} Window */

/**
 * A window moved back so that its centre is within the frame.
 * @param {Window} window
 * @param {number} frame Half-width of the whole plane.
 */
export const bounded = (window, frame) =>
  ({ ...window, x: clamp(window.x, -frame, frame), y: clamp(window.y, -frame, frame) });

/** A window zoomed about a point of the plane. */
export function zoomed(window, factor, x, y, frame) {
  const r = clamp(window.r * factor, frame / 50, frame * 1.6), k = r / window.r;
  return bounded({ x: x + (window.x - x) * k, y: y + (window.y - y) * k, r }, frame);
}

/** From plane to pixels: x -> left + x * scale, y -> top - y * scale. */
export function projection(width, window) {
  const scale = width / (2 * window.r);
  return { scale, left: (window.r - window.x) * scale, top: (window.y + window.r) * scale };
}

/** From u16 over [-limit, limit] to pixels: q -> cx + q * m, q -> cy - q * m. */
export function decoding(width, window, limit) {
  const p = projection(width, window);
  return { m: (2 * limit * p.scale) / 65535, cx: p.left - limit * p.scale, cy: p.top + limit * p.scale };
}

/** Length in pixels of a velocity's arrow: grows with the speed and stays below the cell's size. */
export const arrowLength = (speed, reference, cell) => (cell * 0.95 * speed) / (speed + reference);
