/** The elements of one panel: a figure in the layout "panels" and a row of the film strip. */

import { stepAt, valueAt } from "../base/clock.js";
import { caption, showReadouts } from "../base/dom.js";
import { isStepped } from "./marked.js";

/** Moments of the film strip, as in Fig. 4 of Lipman et al. 2022. */
export const FRAMES = 10;

const context = (canvas) => canvas.getContext("2d", { alpha: false, willReadFrequently: true });

/** The time of moment i of the strip as text. */
export const moment = (i) => (i % (FRAMES - 1) ? `${i}/${FRAMES - 1}` : `${i / (FRAMES - 1)}`);

/**
 * New elements; a click on a moment of the strip calls `jump(t)`.
 * @param {import("./element.js").Player} player
 */
export function makeCell(player, jump) {
  const figure = player.clone("fv-panel"), row = player.clone("fv-row");
  const canvas = figure.querySelector("canvas");
  const shots = Array.from({ length: FRAMES }, (_, i) => {
    const t = i / (FRAMES - 1), button = player.clone("fv-shot"), shot = button.firstElementChild;
    button.setAttribute("aria-label", `t = ${t.toFixed(2)}`);
    button.lastElementChild.textContent = `${i % (FRAMES - 1) ? "" : "t = "}${moment(i)}`;
    button.addEventListener("click", () => jump(t));
    return { button, shot, c: context(shot), t };
  });
  row.querySelector(".fv-frames").append(...shots.map(({ button }) => button));
  return {
    figure, row, shots, canvas, c: context(canvas), surface: null,
    plot: figure.querySelector(".fv-plot"), plane: figure.querySelector(".fv-plane"),
    axes: figure.querySelector(".fv-axes"), badge: figure.querySelector(".fv-badge"),
  };
}

/** Shows the title and the note of a panel of the payload. */
export function fillCell({ figure, row, plane, badge }, { title, note, badge: words, states }) {
  for (const { firstElementChild } of [figure, row]) caption(firstElementChild, title, note);
  badge.textContent = words;
  badge.hidden = !words;
  plane.setAttribute("aria-label", `${title}: ${states.shape[1]} particles`);
}

/** Text of a read-out at time t: its number there, or its one number of the whole run. */
export function readoutAt({ values, decimals }, times, t) {
  const value = values.length > 1 ? valueAt(values, times, t) : values[0];
  return value === null ? "–" : value.toFixed(decimals);
}

/** Shows the read-outs of a panel at time t in its figure or its row: those of the states drawn there. */
export function showCell(cell, panel, t, mode) {
  const { readouts, steps } = panel, times = panel.jumps ? steps : panel.times;
  const time = isStepped(panel, mode) ? steps[stepAt(steps, t)] : t;
  showReadouts(cell.lastElementChild, readouts.map((readout) =>
    [readout.label, readoutAt(readout, times, time), readout.unit, readout.help]));
}
