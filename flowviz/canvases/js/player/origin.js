/** Colours by origin: the direction from the centre of all starts to that of a particle. */

import { ramp } from "../base/colour.js";

/**
 * The pixel of each particle of a panel.
 * @param {any} panel Of the payload; its first states are the starts.
 * @param {string[]} cycle Colours of the angles from -180 to 180 degrees, of which the last is the first.
 */
export function originPixels({ states }, cycle) {
  const n = states.shape[1], colours = ramp(cycle), out = new Uint32Array(n);
  let x = 0, y = 0;
  for (let i = 0; i < n; i++) { x += states[2 * i] / n; y += states[2 * i + 1] / n; }
  for (let i = 0; i < n; i++) {
    const share = Math.atan2(states[2 * i + 1] - y, states[2 * i] - x) / (2 * Math.PI) + 0.5;
    out[i] = colours[Math.round(share * (colours.length - 1))];
  }
  return out;
}
