/**
 * Compare without a server, for the static site. The same script is that of its threads, in which there is
 * no document.
 */

import { onceGone } from "./base/canvas.js";
import { Live } from "./live/element.js";
import { serve } from "./live/worker.js";

if (typeof document === "undefined") serve(globalThis);

/** Mounts the controls; `beside` has this script and the player, see js/page.js. */
export default function mount({ data, parentElement, beside }) {
  const root = parentElement.querySelector(".live"), live = new Live(root, data, beside);
  return onceGone(root, () => live.end());
}
