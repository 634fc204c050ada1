/** Axes of the plane. */

import { textSize } from "./dom.js";
import { clamp, signed, ticks } from "./numbers.js";

/**
 * Ticks, labels and frame of a square plane at (left, top), `side` wide, on a 2D context.
 * @param {CanvasRenderingContext2D} c
 * @param {{left: number, top: number, side: number, window: {x: number, y: number, r: number},
 *   hair: string, muted: string, font: string, size?: number}} style
 */
export function drawAxes(c, { left, top, side, window, hair, muted, font, size = textSize(c.canvas) }) {
  const scale = side / (2 * window.r), snap = (v) => Math.round(v) + 0.5;
  c.font = `${size}px ${font}`;
  c.lineWidth = 1;
  c.strokeStyle = hair;
  c.fillStyle = muted;
  c.beginPath();
  c.textAlign = "center"; c.textBaseline = "top";
  for (const x of ticks(window.x - window.r, window.x + window.r)) {
    const at = left + (x - window.x + window.r) * scale;
    c.moveTo(snap(at - 0.5), top + side); c.lineTo(snap(at - 0.5), top + side + 4);
    const near = clamp(at, left + 8, left + side - 2.2 * size);
    if (Math.abs(near - at) < size / 2) c.fillText(signed(x), near, top + side + 6);
  }
  c.textAlign = "right"; c.textBaseline = "middle";
  for (const y of ticks(window.y - window.r, window.y + window.r)) {
    const at = top + (window.y + window.r - y) * scale;
    c.moveTo(left - 4, snap(at - 0.5)); c.lineTo(left, snap(at - 0.5));
    const near = clamp(at, top + 2 * size, top + side - 5);
    if (Math.abs(near - at) < size / 2) c.fillText(signed(y), left - 7, near);
  }
  c.stroke();
  c.strokeRect(snap(left) - 1, snap(top) - 1, side + 1, side + 1);
  c.font = `italic ${size + 2}px ${font}`;
  c.textBaseline = "top";
  c.fillText("x₁", left + side, top + side + 4);
  c.fillText("x₂", left - 7, top);
}
