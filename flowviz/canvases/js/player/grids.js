/** Values on a grid over [-frame, frame]^2, row 0 lowest, as coloured pixels. */

import { blend } from "../base/numbers.js";
import { mix } from "./pixels.js";

/** Grid k of a (K, h, h) array, blended towards grid k + 1 by f. */
export function blended(grids, k, f, out) {
  const a = k * out.length;
  return blend(grids, a, grids, f > 0 ? a + out.length : a, f, out);
}

/** Where the pixels of a row lie among the h nodes of a grid, cached for the window. */
function columns(s, h, window, frame) {
  const stamp = `${h} ${window.x} ${window.y} ${window.r} ${frame}`;
  const cached = s.columns.get(h);
  if (cached?.stamp === stamp) return cached;
  const step = (2 * frame) / (h - 1), scale = (2 * window.r) / s.w;
  const made = cached ??
    { fx: new Float32Array(s.w), ix: new Int32Array(s.w), rows: new Float32Array(s.w * h) };
  Object.assign(made, { stamp, step, scale, left: s.w, right: 0 });
  for (let x = 0; x < s.w; x++) {
    const u = (window.x - window.r + (x + 0.5) * scale + frame) / step;
    if (u < 0 || u > h - 1) continue;
    made.left = Math.min(made.left, x);
    made.right = x + 1;
    made.ix[x] = Math.min(h - 2, Math.floor(u));
    made.fx[x] = u - made.ix[x];
  }
  s.columns.set(h, made);
  return made;
}

/** Calls row(first pixel, rows, start of the row below, share of the row above, left, right) for each
 *  row of pixels that the grid covers; `rows` holds the grid's rows stretched to the width. */
function forEachRow(s, grid, h, window, frame, row) {
  const c = columns(s, h, window, frame), { fx, ix, rows, left, right } = c, { w } = s;
  const node = (y) => (window.y + window.r - (y + 0.5) * c.scale + frame) / c.step;
  const high = Math.min(h - 1, Math.ceil(node(0))), low = Math.max(0, Math.floor(node(s.h - 1)));
  for (let r = low; r <= high; r++) for (let x = left, base = r * h, at = r * w; x < right; x++) {
    const a = grid[base + ix[x]];
    rows[at + x] = a + (grid[base + ix[x] + 1] - a) * fx[x];
  }
  for (let y = 0; y < s.h; y++) {
    const v = node(y);
    if (v < 0 || v > h - 1) continue;
    const r = Math.min(h - 2, Math.floor(v));
    row(y * w, rows, r * w, v - r, left, right);
  }
}

/** Paints values in 0..255 by a ramp of pixels; the ramp's first pixel fills the rest. */
export function paintDensity(s, grid, h, window, frame, colours) {
  s.px.fill(colours[0]);
  const scale = (colours.length - 1) / 255, { px } = s;
  forEachRow(s, grid, h, window, frame, (base, rows, a, f, left, right) => {
    for (let x = left, b = a + s.w; x < right; x++) {
      const value = rows[a + x];
      px[base + x] = colours[((value + (rows[b + x] - value) * f) * scale) | 0];
    }
  });
}

/** Paints values in 0..255 over the picture: the larger, the more opaque. */
export function paintDifference(s, grid, h, window, frame, colours) {
  const scale = (colours.length - 1) / 255;
  forEachRow(s, grid, h, window, frame, (base, rows, a, f, left, right) => {
    for (let x = left, b = a + s.w; x < right; x++) {
      const value = rows[a + x] + (rows[b + x] - rows[a + x]) * f;
      if (value > 4) mix(s.px, base + x, colours[(value * scale) | 0], Math.min(225, value * 2.2) | 0);
    }
  });
}
