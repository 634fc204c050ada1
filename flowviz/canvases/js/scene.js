/** An element that only carries one scene of the player to the browser and takes no room. */

import { onceGone } from "./base/canvas.js";
import { decode } from "./base/wire.js";
import { scenes } from "./player/scenes.js";

export default function mount({ data, parentElement }) {
  const carrier = parentElement.querySelector(".fv-scene");
  const box = carrier.closest('[data-testid="stElementContainer"]');
  if (box) box.style.display = "none";
  if (!data) return undefined; // another carrier brings this scene
  const scene = decode(data);
  scenes.put(carrier, scene.name, scene);
  return onceGone(carrier, () => scenes.drop(carrier));
}
