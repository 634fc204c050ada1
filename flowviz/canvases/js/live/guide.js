/** The step of a lecture above a page: `lecture=ten-steps&step=3` in its link, as in the app. */

import { clamp } from "../base/numbers.js";

/** The height in pixels that a page needs besides its canvas, with the step of a lecture. */
export const reserved = (height) =>
  height + (/** @type {HTMLElement} */ (document.querySelector(".guide"))?.offsetHeight ?? 0);

/**
 * Shows the step that the link names, with only those controls that it allows.
 * @param {HTMLElement} root
 * @param {Record<string, {steps: {html: string, open: string, show: string[]}[]}>} lectures
 * @param {{mount: Function, place: HTMLElement}} lecture The canvas of the buttons and keys.
 */
export function guide(root, lectures, { mount, place }) {
  const query = new URLSearchParams(location.search), { steps } = lectures[query.get("lecture")] ?? {};
  if (!steps) return;
  const count = steps.length, number = clamp(Number(query.get("step")) || 1, 1, count);
  const every = Number(query.get("every")) || 0, { html, show } = steps[number - 1];
  const banner = /** @type {HTMLElement} */ (root.querySelector(".guide"));
  banner.innerHTML = html;
  banner.hidden = false;
  const style = document.head.appendChild(document.createElement("style"));
  const kept = show.map((name) => `:not([data-name="${CSS.escape(name)}"])`).join("");
  style.textContent = `.live-controls > *${kept} { display: none !important; }`;
  const go = (_, { where }) => {
    const next = { next: number % count, previous: number - 2 }[where];
    for (const name of ["lecture", "step", "every"]) query.delete(name);
    location.assign(where === "leave" ? `?${query}` : `${steps[next].open}${every ? `&every=${every}` : ""}`);
  };
  mount({ data: { number, count, every }, parentElement: place, setTriggerValue: go });
}
