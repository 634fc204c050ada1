/** Compare without a server, for the static site. */

import { onceGone } from "./base/canvas.js";
import { Live } from "./live/element.js";

/** Mounts the controls; `beside` is the player, see js/page.js. */
export default function mount({ data, parentElement, beside }) {
  const root = parentElement.querySelector(".live"), live = new Live(root, data, beside);
  return onceGone(root, () => live.end());
}
