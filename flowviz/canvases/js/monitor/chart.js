/** Curves over the training steps on a logarithmic axis. */

import { drawChart as draw, under } from "../base/chart.js";
import { logRange, whole } from "../base/numbers.js";

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

const stepsTo = (end) => ({ low: 0, high: end, text: (v) => (v === 0 ? "step 0" : whole(v)) });

/** The step under a pointer, or null outside the axes. */
export const stepUnder = (canvas, event, end) => under(canvas, event, stepsTo(end));

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
  const [low, high] = logRange([chart, ...chart.lines].flatMap(({ y = [], floor }) => [...y, floor ?? 0]));
  const level = (y, own) => (y ? [{ x: [0, end], y: [y, y], colour: own, dash: [2, 4] }] : []);
  const lines = chart.lines.flatMap(({ role, x, y, floor }) => [
    ...level(floor, colour(role)), { x, y, colour: colour(role), dots: y.length === 1 },
  ]);
  const all = [...level(chart.floor, theme.roles.data), ...lines];
  draw(canvas, { lines: all, x: stepsTo(end), y: { low, high, log: true }, cursor }, theme, font);
}
