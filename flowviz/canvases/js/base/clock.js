/** Time t in [0, 1]: frames around a time, and the clock of everything that plays. */

import { clamp } from "./numbers.js";

export const SPEEDS = [0.25, 0.5, 1, 2];
const EPS = 1e-6;

/**
 * The frame k before t and the share f in [0, 1) of the way to frame k + 1.
 * @param {ArrayLike<number>} times Increasing.
 */
export function locate(times, t) {
  const last = times.length - 1;
  if (t <= times[0]) return { k: 0, f: 0 };
  if (t >= times[last]) return { k: last, f: 0 };
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle; else high = middle;
  }
  return { k: low, f: (t - times[low]) / (times[low + 1] - times[low]) };
}

/** Times in a link have three decimals. */
const ROUNDING = 5e-4 + EPS;

/** Index of the last time that is not after t, up to the rounding of a link. */
export const stepAt = (times, t) => locate(times, t + ROUNDING).k;

/**
 * The times of each panel on the common clock, from lists that end at each path's own t_max: they end
 * at 1, and lists of equal length are the same, so that step k of all panels is at one time.
 * @param {ArrayLike<number>[]} lists
 * @returns {number[][]}
 */
export function aligned(lists) {
  const same = lists.every((times) => times.length === lists[0].length);
  const scaled = (times) => Array.from(times, (t) => t / times[times.length - 1]);
  return lists.map((times) => scaled(same ? lists[0] : times));
}

/** A piecewise linear function of t; null where a value is missing. */
export function valueAt(values, times, t) {
  const { k, f } = locate(times, t);
  return f > 0 && values[k] !== null && values[k + 1] !== null
    ? values[k] + (values[k + 1] - values[k]) * f : values[k];
}

/** The nearest time of any list strictly after t (direction 1) or before t (-1); else the end. */
export function neighbour(lists, t, direction) {
  let best = direction > 0 ? 1 : 0;
  for (const times of lists) for (const s of times) {
    const ahead = (s - t) * direction;
    if (ahead > 1e-4 && ahead < Math.abs(best - t) && s <= 1) best = s;
  }
  return best;
}

/**
 * The clock after an action. `release` says that Python may be informed of t.
 * @param {{t: number, playing: boolean, speed: number}} clock
 * @param {{type: string, [argument: string]: any}} action
 * @param {number} sweep Seconds from t = 0 to t = 1 at speed 1.
 */
export function clockAfter(clock, action, sweep) {
  const { t, playing, speed } = clock;
  const clockAt = (time, changes = {}) =>
    ({ t: clamp(time, 0, 1), playing: false, speed, release: false, ...changes });
  switch (action.type) {
    case "tick": {
      if (!playing) return { ...clock, release: false };
      const next = t + (action.seconds * speed) / sweep;
      return next >= 1 ? clockAt(1, { release: true }) : clockAt(next, { playing: true });
    }
    case "toggle":
      return playing ? clockAt(t, { release: true }) : clockAt(t >= 1 - EPS ? 0 : t, { playing: true });
    case "scrub": return clockAt(action.t);
    case "release": return clockAt(t, { release: true });
    case "jump": return clockAt(action.t, { release: true });
    case "step": return clockAt(neighbour(action.lists, t, action.direction), { release: true });
    case "speed": return { t, playing, speed: action.speed, release: false };
    default: throw new Error(`Unknown action ${action.type}.`);
  }
}
