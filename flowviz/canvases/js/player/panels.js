/** The elements of one panel: a figure in the layout "panels" and a row of the film strip. */

import { valueAt } from "../base/clock.js";
import { button, element } from "../base/dom.js";

/** Moments of the film strip, as in Fig. 4 of Lipman et al. 2022. */
export const FRAMES = 10;

const context = (canvas) => canvas.getContext("2d", { alpha: false, willReadFrequently: true });

function caption() {
  const made = element("figcaption");
  made.append(element("span"), element("span", "fv-note"));
  return made;
}

/** The time of moment i of the strip as text. */
export const moment = (i) => (i % (FRAMES - 1) ? `${i}/${FRAMES - 1}` : `${i / (FRAMES - 1)}`);

/** New elements; a click on a moment of the strip calls `jump(t)`. */
export function makeCell(jump) {
  const figure = element("figure"), plot = element("div", "fv-plot"), plane = element("div", "fv-plane");
  const canvas = element("canvas"), axes = element("canvas", "fv-axes");
  plane.setAttribute("role", "img");
  plane.append(canvas);
  plot.append(plane, axes);
  figure.append(caption(), plot, element("dl", "fv-readouts"));
  const row = element("div", "fv-row"), frames = element("div", "fv-frames");
  const shots = Array.from({ length: FRAMES }, (_, i) => {
    const t = i / (FRAMES - 1), shot = element("canvas");
    const options = { className: "fv-frame", ariaLabel: `t = ${t.toFixed(2)}` };
    const made = button(undefined, () => jump(t), options);
    made.append(shot, element("span", "", `${i % (FRAMES - 1) ? "" : "t = "}${moment(i)}`));
    frames.append(made);
    return { button: made, shot, c: context(shot), t };
  });
  row.append(caption(), frames, element("dl", "fv-readouts"));
  return { figure, plot, plane, canvas, c: context(canvas), axes, row, shots, surface: null, readouts: [] };
}

/** One read-out; returns the element of its number. */
function addReadout(list, readout) {
  const item = element("div"), value = element("dd"), number = element("span");
  if (readout.help) item.title = readout.help;
  value.append(number);
  if (readout.unit) value.append(" ", element("small", "", readout.unit));
  item.append(element("dt", "", readout.label), value);
  list.append(item);
  return number;
}

/** Titles, notes and read-outs of a panel of the payload. */
export function fillCell(cell, panel) {
  const places = [cell.figure, cell.row];
  for (const { firstChild } of places) {
    firstChild.children[0].textContent = panel.title;
    firstChild.children[1].textContent = panel.note;
  }
  cell.plane.setAttribute("aria-label", `${panel.title}: ${panel.states.shape[1]} particles`);
  cell.readouts = places.map(({ lastChild }) => {
    lastChild.replaceChildren();
    return panel.readouts.map((readout) => addReadout(lastChild, readout));
  });
}

/** Text of a read-out at time t: its number there, or its one number of the whole run. */
export function readoutAt({ values, decimals }, times, t) {
  const value = values.length > 1 ? valueAt(values, times, t) : values[0];
  return value === null ? "–" : value.toFixed(decimals);
}

/** The peak of a scene's density at time t. */
export const peakAt = (scene, t) => valueAt(scene.density_peak, scene.times, t);
