/** Curves over the training steps on a logarithmic axis. */

import { sized } from "../base/dom.js";
import { logRange, logTicks, niceStep, short, whole } from "../base/numbers.js";

const MARGIN = { left: 46, right: 10, top: 8, bottom: 24 };

/** End of the axis of steps: the whole run, halved as long as the steps so far fit. */
export function axisEnd(step, steps) {
  let end = steps;
  while (end / 2 >= Math.max(step, 20)) end /= 2;
  return end;
}

/** Value of a curve {x, y} at a step: its last point that is not later; null without points. */
export function curveAt({ x, y }, step) {
  const later = x.findIndex((each) => each > step);
  return y.at(later > 0 ? later - 1 : later) ?? null;
}

/** The step under a pointer, or null outside the axes. */
export function stepUnder(canvas, event, end) {
  const box = canvas.getBoundingClientRect();
  const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
  return share >= 0 && share <= 1 ? share * end : null;
}

function drawAxes(c, { left, top, width, height, low, high, end, X, Y }, { muted, grid }) {
  c.strokeStyle = grid;
  c.fillStyle = muted;
  c.lineWidth = 1;
  c.textAlign = "right";
  c.textBaseline = "middle";
  const isDecade = (v) => Math.abs(Math.log10(v) % 1) < 1e-6, all = logTicks(low, high);
  const shown = all.length > height / 20 ? all.filter((v) => isDecade(v) || v === low || v === high) : all;
  for (const value of shown) {
    const y = Math.round(Y(value)) + 0.5;
    c.beginPath(); c.moveTo(left, y); c.lineTo(left + width, y); c.stroke();
    c.fillText(short(value), left - 6, y);
  }
  c.textBaseline = "alphabetic";
  const step = niceStep(end, Math.max(2, width / 80)), right = left + width + MARGIN.right;
  for (let x = 0; x <= end * 1.0001; x += step) {
    c.textAlign = x === 0 ? "left" : X(x) > right - 30 ? "right" : "center";
    c.fillText(x === 0 ? "step 0" : whole(x), Math.min(X(x), right - 2), top + height + MARGIN.bottom - 6);
  }
}

/** A horizontal dotted line. */
function drawLevel(c, { left, width, Y }, value, colour) {
  c.strokeStyle = colour;
  c.lineWidth = 1.5;
  c.setLineDash([2, 4]);
  c.beginPath(); c.moveTo(left, Y(value)); c.lineTo(left + width, Y(value)); c.stroke();
  c.setLineDash([]);
}

function drawCurve(c, { X, Y }, { x, y }, colour) {
  c.strokeStyle = c.fillStyle = colour;
  c.lineWidth = 2;
  c.lineJoin = "round";
  c.beginPath();
  y.forEach((value, i) => value > 0 && c.lineTo(X(x[i]), Y(value)));
  c.stroke();
  if (y.length === 1) c.fillRect(X(x[0]) - 2, Y(y[0]) - 2, 4, 4);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {any} chart {lines: [{role, x, y, floor}], floor} of the payload.
 * @param {object} view
 * @param {number} view.end Last step of the axis.
 * @param {number | null} view.cursor Step of the vertical line.
 * @param {any} view.theme Colours of the page's theme.
 * @param {string} view.font
 * @param {(role: string) => string} view.colour
 */
export function drawChart(canvas, chart, { end, cursor, theme, font, colour }) {
  const [c, w, h] = sized(canvas), { left, top } = MARGIN;
  const width = w - left - MARGIN.right, height = h - top - MARGIN.bottom;
  const [low, high] = logRange([chart, ...chart.lines].flatMap(({ y = [], floor }) => [...y, floor ?? 0]));
  const X = (x) => left + (x / end) * width;
  const Y = (y) => top + height * (1 - Math.log(y / low) / Math.log(high / low));
  const plot = { left, top, width, height, low, high, end, X, Y };
  c.clearRect(0, 0, w, h);
  c.font = `12px ${font}`;
  drawAxes(c, plot, theme);
  c.save();
  c.beginPath(); c.rect(left, top - 2, width + 2, height + 4); c.clip();
  if (chart.floor) drawLevel(c, plot, chart.floor, theme.roles.data);
  for (const line of chart.lines) {
    if (line.floor) drawLevel(c, plot, line.floor, colour(line.role));
    drawCurve(c, plot, line, colour(line.role));
  }
  if (cursor !== null) {
    c.strokeStyle = theme.ink;
    c.globalAlpha = 0.5;
    c.lineWidth = 1;
    c.beginPath(); c.moveTo(X(cursor), top); c.lineTo(X(cursor), top + height); c.stroke();
  }
  c.restore();
}
