/** The texts of the page "Vector field". */

import { signed, whole } from "../base/numbers.js";

const degrees = (u, v) => `${signed(Math.round((Math.atan2(v, u) * 180) / Math.PI))}°`;
const percent = (v) => `${v < 0.0995 ? (100 * v).toFixed(1) : Math.round(100 * v)}%`;

/** A number with about three digits, whose length seldom changes while it moves. */
export const decimal = (v) =>
  v >= 1e5 ? v.toExponential(1) : v >= 99.5 ? v.toFixed(0) : v >= 9.95 ? v.toFixed(1) : v.toFixed(2);

/**
 * What to notice at this t and x, as HTML.
 * @param {object} seen
 * @param {number} seen.n Number of points or parts.
 * @param {string} seen.over "points" or "parts".
 * @param {any} seen.drawn Summary of the posterior over them.
 * @param {any} seen.exact Summary of the closed form.
 * @param {{part: string, parts: string}} seen.words Names of one part and of several.
 * @param {number} seen.heaviest Largest weight.
 */
export function notice({ n, over, drawn, exact, words, heaviest }) {
  const [singular, plural] = over === "parts" ? [words.part, words.parts] : ["point", "points"];
  const spread = decimal(drawn.spread), total = whole(n), out = [];
  const largest = Math.max(exact.speed, drawn.speed, 1e-12);
  const gap = Math.hypot(drawn.u - exact.u, drawn.v - exact.v) / largest;
  if (n > 1 && drawn.effective > n / 2) {
    out.push(`<b>Nearly all ${plural} contribute</b>: effectively ${whole(drawn.effective)} of ${total}. ` +
      "x carries little information about its end point, so u points at the mean of the data (◆). " +
      `A single conditional velocity differs from u by ${spread} (root mean square).`);
  } else if (n > 1 && drawn.effective < 1.5) {
    out.push(`<b>One ${singular} dominates</b> with ${percent(heaviest)} of the weight: ` +
      `u is its conditional velocity up to ${spread}.`);
  } else {
    const count = drawn.effective < 9.95 ? drawn.effective.toFixed(1) : whole(drawn.effective);
    out.push(`<b>${count} ${plural}</b> of ${total} contribute. Their velocities differ from u by ` +
      `${spread} (root mean square), yet a network that is trained on single velocities learns their mean.`);
  }
  const differs = `The distribution's closed form differs by ${percent(gap)}:`;
  if (over === "parts") out.push("The mean over the parts is the closed form: both arrows coincide.");
  else if (gap < 0.02)
    out.push(`The data points reproduce the distribution's closed form to ${percent(gap)}.`);
  else if (drawn.effective < 3)
    out.push(`${differs} the exact field of a finite set leads to its own points. ` +
      "It memorises; the closed form does not.");
  else out.push(`${differs} the error of an average over so few points.`);
  return out.join(" ");
}

/** The legend's text for what is shaded by weight. */
export const legendOf = ({ over, words }) => (over === "parts" ? `${words.parts}, shaded by posterior weight`
  : "data points, shaded and sized by posterior weight");

/**
 * Read-outs [label, value, unit, help] of a posterior and of the closed form.
 * @returns {[string, string, string, string][]}
 */
export function readouts({ drawn, exact, post, over, words }) {
  const heaviest = post.w[drawn.best];
  return [
    [`effective ${over === "parts" ? words.parts : "points"}`,
      drawn.effective < 99.5 ? drawn.effective.toFixed(1) : whole(drawn.effective), `of ${whole(post.n)}`,
      "1 / Σ w²: the number of equally weighted ones with the same effect."],
    ["largest weight", (100 * heaviest).toFixed(heaviest < 0.0995 ? 2 : 1), "%",
      "The largest posterior probability p(x₁ | xₜ = x)."],
    ["|u|, their mean", decimal(drawn.speed), degrees(drawn.u, drawn.v),
      "Length and direction of the weighted mean of the conditional velocities."],
    ["|u|, closed form", decimal(exact.speed), degrees(exact.u, exact.v),
      "The marginal velocity of the distribution itself."],
    ["spread of velocities", decimal(drawn.spread), "",
      "Root mean square distance of the conditional velocities from their mean. " +
      "Its square is the part of the loss at (t, x) that no network can remove."],
    ["mean − closed form", decimal(Math.hypot(drawn.u - exact.u, drawn.v - exact.v)), "",
      "Length of the difference of the two strong arrows."],
  ];
}
