/**
 * An element that computes the particles of the player while a control of the page moves, before the server
 * does; the page hides it (pages.css).
 */

import { onceGone } from "./base/canvas.js";
import { Preview } from "./live/preview.js";

const made = new WeakMap();

/** Mounts the model of the page; without data, as for fields that the engine does not have, it ends. */
export default function mount({ data, parentElement }) {
  const root = parentElement.querySelector(".fv-preview");
  const end = () => { if (made.has(root)) made.get(root).end(); made.delete(root); };
  if (!data) return end();
  if (!made.has(root)) made.set(root, new Preview());
  made.get(root).show(data);
  return onceGone(root, end);
}
