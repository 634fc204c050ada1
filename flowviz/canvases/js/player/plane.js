/** Mouse and touch on a plane: the wheel zooms, a drag moves, a double click resets. */

import { onDrag } from "../base/dom.js";
import { clamp } from "../base/numbers.js";
import { bounded } from "./geometry.js";

/**
 * @param {import("./element.js").Player} player
 * @param {HTMLElement} plane
 * @param {number} index Of the panel.
 */
export function bindPlane(player, plane, index) {
  const position = ({ clientX, clientY }) => {
    const box = plane.getBoundingClientRect(), { x, y, r } = player.window, unit = (2 * r) / box.width;
    return { x: x - r + (clientX - box.left) * unit, y: y + r - (clientY - box.top) * unit, unit };
  };
  plane.addEventListener("wheel", (event) => {
    // On the whole plane, a wheel turned down scrolls the page.
    if (event.deltaY > 0 && player.window.r >= player.body.frame && !event.ctrlKey) return;
    event.preventDefault();
    const { x, y } = position(event), pixels = event.deltaMode === 1 ? 33 * event.deltaY : event.deltaY;
    player.zoom(Math.exp(clamp(pixels, -240, 240) * 0.0015), x, y);
  }, { passive: false });
  let drag = null, pressed = null, pinned = false;
  const under = (event) => {
    const box = plane.getBoundingClientRect();
    return player.nearest(index, box.width, event.clientX - box.left, event.clientY - box.top);
  };
  plane.addEventListener("pointerleave", () => { if (!pinned) player.mark(null); });
  plane.addEventListener("click", (event) => {
    if (Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) > 4) return; // a drag
    const particle = under(event);
    pinned = particle !== null;
    player.mark(particle);
  });
  onDrag(plane, {
    grab: (event) =>
      (pressed = event) && (drag = { event, window: player.window, unit: position(event).unit }),
    move: (hover) => {
      const { clientX, clientY } = hover;
      if (!drag && !pinned && hover.pointerType === "mouse") player.mark(under(hover));
      if (!drag) return;
      const { event, window, unit } = drag;
      const x = window.x - (clientX - event.clientX) * unit, y = window.y + (clientY - event.clientY) * unit;
      player.look(bounded({ ...window, x, y }, player.body.frame));
    },
    drop: () => { drag = null; },
  });
  plane.addEventListener("dblclick", () => player.look(player.whole));
}
