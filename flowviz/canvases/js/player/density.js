/** The scale of densities: one for all panels, or the peak of each. */

import { valueAt } from "../base/clock.js";

/** @typedef {import("./element.js").Player} Player */

/** The scene whose density panel i shows, or null. @param {Player} player */
export function densityOf(player, i) {
  const scene = player.learnedOf(i) ?? player.scenes[i];
  return scene?.density ? scene : null;
}

/** The peak of the density of panel i at time t; 0 if there is none. @param {Player} player */
function peakOf(player, i, t) {
  const scene = densityOf(player, i);
  return scene ? valueAt(scene.density_peak, scene.times, t) ?? 0 : 0;
}

/** The density of the ramp's last colour in panel i at time t. @param {Player} player */
export function scaleOf(player, i, t) {
  if (player.view.scale === "own") return peakOf(player, i, t);
  return Math.max(...player.body.panels.map((_, j) => peakOf(player, j, t)));
}

/** The factor by which that scale changes the roots of panel i. @param {Player} player */
export function rootOf(player, i, t) {
  const scale = scaleOf(player, i, t);
  return scale ? Math.sqrt(peakOf(player, i, t) / scale) : 1;
}
