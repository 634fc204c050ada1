/** An element that only carries one scene of the player to the browser; the page hides it (pages.css). */

import { onceGone } from "./base/canvas.js";
import { decode } from "./base/wire.js";
import { scenes } from "./player/scenes.js";

export default function mount({ data, parentElement }) {
  const carrier = parentElement.querySelector(".fv-scene");
  if (!data) return undefined; // another carrier brings this scene
  const scene = decode(data);
  scenes.put(carrier, scene.name, scene);
  return onceGone(carrier, () => scenes.drop(carrier));
}
