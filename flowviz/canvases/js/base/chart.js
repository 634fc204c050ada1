/** Curves over two axes, each linear or logarithmic. */

import { sized, textSize } from "./dom.js";
import { logTicks, short, signed, ticks } from "./numbers.js";

/** The room around the axes in times the size of the text. */
const MARGIN = { left: 4, right: 1, top: 0.8 };
/** The room below the axes without and with a label. */
const BELOW = [2, 3.4];

/**
 * @typedef {{low: number, high: number, log?: boolean, label?: string, text?: (v: number) => string}} Axis
 * @typedef {ArrayLike<number>} List
 * @typedef {{x: List, y: List, colour: string, dash?: number[], dots?: boolean}} Line
 */

/** The position of a value on an axis as a share of its length. */
const shareOf = (/** @type {Axis} */ { low, high, log }, v) =>
  (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));

/** The value of the horizontal axis under a pointer, or null outside. */
export function under(canvas, event, /** @type {Axis} */ { low, high, log }) {
  const box = canvas.getBoundingClientRect();
  const size = textSize(canvas), left = size * MARGIN.left, right = size * MARGIN.right;
  const share = (event.clientX - box.left - left) / (box.width - left - right);
  if (share < 0 || share > 1) return null;
  return log ? low * (high / low) ** share : low + share * (high - low);
}

/** The value of a curve at x, linear between its points; null outside of them. */
export function curveAt({ x, y }, value) {
  for (let k = 1; k < x.length; k++)
    if (x[k - 1] <= value && value <= x[k])
      return y[k - 1] + ((y[k] - y[k - 1]) * (value - x[k - 1])) / (x[k] - x[k - 1] || 1);
  return null;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{lines: Line[], x: Axis, y: Axis, cursor: number | null}} chart
 * @param {{ink: string, muted: string, grid: string}} look
 * @param {string} font
 */
export function drawChart(canvas, { lines, x, y, cursor }, { ink, muted, grid }, font) {
  const [c, w, h] = sized(canvas), size = textSize(canvas);
  const left = size * MARGIN.left, top = size * MARGIN.top, width = w - left - size * MARGIN.right;
  const height = h - top - size * BELOW[x.label ? 1 : 0];
  const X = (v) => left + width * shareOf(x, v), Y = (v) => top + height * (1 - shareOf(y, v));
  const text = (/** @type {Axis} */ axis, v) =>
    axis.text?.(v) ?? signed(axis.log && v < 0.001 ? v.toExponential(0) : short(v));
  const isDecade = (v) => Math.abs(Math.log10(v) % 1) < 1e-6;
  const marks = (/** @type {Axis} */ { low, high, log }, maxCount) => {
    if (!log) return ticks(low, high, maxCount);
    const all = logTicks(low, high);
    return all.length <= maxCount ? all : all.filter((v) => isDecade(v) || v === low || v === high);
  };
  const stroke = (points, colour, thick = 1, dash = []) => {
    c.strokeStyle = colour;
    c.lineWidth = thick;
    c.setLineDash(dash);
    c.beginPath();
    for (const [a, b] of points) c.lineTo(a, b);
    c.stroke();
    c.setLineDash([]);
  };
  c.clearRect(0, 0, w, h);
  c.font = `${size}px ${font}`;
  c.fillStyle = muted;
  c.textAlign = "right";
  c.textBaseline = "middle";
  for (const v of marks(y, Math.max(3, height / (2.3 * size)))) {
    const pixel = Math.round(Y(v)) + 0.5;
    stroke([[left, pixel], [left + width, pixel]], grid);
    c.fillText(text(y, v), left - 6, pixel);
  }
  c.textBaseline = "top";
  for (const v of marks(x, Math.max(2, width / (6.2 * size)))) {
    const pixel = Math.round(X(v)) + 0.5;
    stroke([[pixel, top], [pixel, top + height]], grid);
    c.textAlign = v === x.low && x.text ? "left" : pixel > left + width - 20 ? "right" : "center";
    c.fillText(text(x, v), Math.min(pixel, w - 2), top + height + 6);
  }
  c.textAlign = "center";
  c.fillText(x.label ?? "", left + width / 2, top + height + 1.9 * size);
  c.save();
  c.beginPath(); c.rect(left - 4, top - 4, width + 8, height + 8); c.clip();
  c.lineJoin = "round";
  for (const { x: xs, y: ys, colour, dash, dots } of lines) {
    const finite = Array.from(xs, (v, k) => [v, ys[k]])
      .filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b) && (!y.log || b > 0))
      .map(([a, b]) => [X(a), Y(b)]);
    stroke(finite, colour, 2, dash);
    c.fillStyle = colour;
    if (dots) for (const [a, b] of finite) { c.beginPath(); c.arc(a, b, 3, 0, 7); c.fill(); }
  }
  if (cursor !== null) { c.globalAlpha = 0.5; stroke([[X(cursor), top], [X(cursor), top + height]], ink); }
  c.restore();
}
