/** The keyboard of the player. */

import { LAYERS } from "./layers.js";

const KEYS = {
  " ": { act: "toggle" }, ArrowLeft: { act: "back" }, ArrowRight: { act: "forward" },
  Home: { act: "start" }, End: { act: "end" }, PageDown: { nudge: 0.1 }, PageUp: { nudge: -0.1 },
  d: { act: "density" }, f: { act: "layout" }, s: { act: "mode" },
  "+": { zoom: 0.8 }, "-": { zoom: 1.25 }, 0: { act: "home" },
  "?": { act: "help" }, Escape: { act: "escape" },
};

/**
 * The meaning of a key, or null.
 * @param {string} key
 * @param {boolean} onButton The focused element is a button, which Space presses.
 * @returns {{act?: string, layer?: string, zoom?: number, nudge?: number} | null}
 */
export function keyMeaning(key, onButton = false) {
  if (key === " " && onButton) return null;
  if (key >= "1" && key <= "6") return { layer: LAYERS[Number(key) - 1] };
  return KEYS[key.length === 1 ? key.toLowerCase() : key] ?? null;
}

/** Whether a lecture runs by itself, whose players begin again at t = 1. */
export const repeats = () => document.documentElement.dataset.lecture === "loop";

/** During a lecture, arrows and a presenter's keys change its step unless a player has the focus. */
export const belongsToLecture = (key) =>
  "lecture" in document.documentElement.dataset && /^(Arrow|Page)/.test(key);
