/** The schedule that the reader shapes, `shape=a1=0.2,s1=0.8` in a link; see flowviz.schedulers.Shaped. */

import { root } from "../engine/grids.js";
import { coefficients } from "../engine/schedulers.js";
import { pieces } from "../shaper.js";

/**
 * The path through inner values at even times, which ends where sigma is `stop`.
 * @param {any} path The default one.
 * @param {{alpha: number[], sigma: number[], stop: number}} shape
 */
export function shaped(path, { alpha, sigma, stop }) {
  const cubics = (values) => Float64Array.from(pieces(values).flat());
  const result = { ...path, alpha_cubics: cubics([0, ...alpha, 1]), sigma_cubics: cubics([1, ...sigma, 0]) };
  return { ...result, t_max: root((t) => stop - coefficients(result, t).sigma, 0.5, 1) };
}

/** The inner values of a link's `shape` in place of the default ones; null if they are invalid. */
export function shapeIn(query, { alpha, sigma, least }) {
  const values = { alpha: [...alpha], sigma: [...sigma] };
  for (const [, letter, k, value] of (query.get("shape") ?? "").matchAll(/([as])([1-4])=([\d.]+)/g))
    values[letter === "a" ? "alpha" : "sigma"][Number(k) - 1] = Number(value);
  const falls = (list) => list.slice(1).every((v, k) => list[k] - v >= least - 1e-9);
  return falls([1, ...values.sigma, 0]) && falls([1, ...values.alpha.toReversed(), 0]) ? values : null;
}

/** The text of a link's `shape`. */
export const shapeText = ({ alpha, sigma }) =>
  [...alpha.map((v, k) => `a${k + 1}=${v}`), ...sigma.map((v, k) => `s${k + 1}=${v}`)].join();
