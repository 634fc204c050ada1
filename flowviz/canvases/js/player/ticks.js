/** Marks under the slider at the solver steps of each panel, one row per panel. */

import { isStepped } from "./marked.js";

/** Distance in CSS pixels of the ends of the slider from those of its track. */
const THUMB = 8;

/** @param {import("./element.js").Player} player */
export function drawTicks(player) {
  const canvas = player.find(".fv-ticks"), ratio = devicePixelRatio || 1, w = canvas.clientWidth;
  if (!w) return false;
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(8 * ratio);
  const c = canvas.getContext("2d"), height = 8 / player.body.panels.length;
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  player.body.panels.forEach((panel, i) => {
    if (!isStepped(panel, player.view.mode)) return;
    c.fillStyle = player.colours[i];
    for (const t of panel.steps)
      c.fillRect(Math.round(THUMB + t * (w - 2 * THUMB)) - 0.5, height * i, 1.5, height - 1);
  });
  return true;
}
