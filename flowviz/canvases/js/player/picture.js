/** The current view as one canvas at print size. */

import { drawAxes } from "../base/axes.js";
import { element } from "../base/dom.js";
import { paint } from "./layers.js";
import { legendOf, legendText } from "./legend.js";
import { FRAMES, moment } from "./panels.js";
import { surface } from "./pixels.js";

const LAYOUTS = {
  panels: { side: 900, gap: 70, size: 22, left: 64, top: 84 },
  strip: { side: 220, gap: 10, size: 20, left: 24, top: 60 },
};

/** @param {import("./element.js").Player} player */
export function picture(player) {
  const { theme, body, clock, colours, font } = player, n = body.panels.length;
  const strip = player.view.layout === "strip", { side, gap, size, left, top } = LAYOUTS[player.view.layout];
  const canvas = element("canvas"), c = canvas.getContext("2d");
  // Four panels are two rows, as on the page.
  const columns = strip ? 1 : n === 4 ? 2 : n, rows = n / columns, rowHeight = side + (strip ? 96 : top + 46);
  canvas.width = strip ? 2 * left + FRAMES * (side + gap) - gap : columns * (left + side) + gap;
  canvas.height = strip ? 40 + n * rowHeight : rows * rowHeight + 64;
  c.fillStyle = theme.paper;
  c.fillRect(0, 0, canvas.width, canvas.height);
  const stamp = (i, t, x, y, dot, radius) => {
    const s = surface(side);
    paint(s, body.panels[i], player.scenes[i], player.settings(i, t, dot, radius));
    c.putImageData(s.image, x, y);
  };
  const text = (words, x, y, { weight = 400, points = size, colour = theme.muted, align = "left" } = {}) => {
    c.font = `${weight} ${points}px ${font}`;
    c.fillStyle = colour;
    c.textAlign = /** @type {CanvasTextAlign} */ (align);
    c.textBaseline = "alphabetic";
    c.fillText(words, x, y);
  };
  body.panels.forEach((panel, i) => {
    const x = left + (i % columns) * (left + side), y = top + Math.floor(i / columns) * rowHeight;
    const heading = { weight: 600, points: size + 4 };
    text(panel.title, x, y - 22, { ...heading, colour: colours[i] });
    text(panel.note, x + c.measureText(panel.title).width + 16, y - 22);
    if (!strip) {
      stamp(i, clock.t, x, y, 2, 1.75);
      drawAxes(c, player.axesStyle(x, y, side, size));
      text(panel.badge, x + 16, y + 32, { colour: theme.ink });
      text(`t = ${clock.t.toFixed(3)}`, x + side, y - 22, { ...heading, colour: theme.ink, align: "right" });
      return;
    }
    for (let j = 0; j < FRAMES; j++) {
      const at = x + j * (side + gap);
      stamp(i, j / (FRAMES - 1), at, y, 1.5, 1);
      c.strokeStyle = theme.grid;
      c.strokeRect(at - 0.5, y - 0.5, side + 1, side + 1);
      text(`t = ${moment(j)}`, at + side / 2, y + side + 26, { align: "center" });
    }
  });
  text(legendText(legendOf(player, clock.t)), left, canvas.height - 22, { points: size - 3 });
  return canvas;
}
