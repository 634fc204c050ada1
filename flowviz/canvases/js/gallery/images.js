/** What sheets and films share. */

import { caption } from "../base/dom.js";

/** Draws the RGB image that starts at byte `at` at (x, y) of a 2D context. */
export function drawImage(c, rgb, at, w, h, x = 0, y = 0) {
  const image = c.createImageData(w, h), out = image.data;
  for (let i = 0, j = at; i < out.length; i += 4, j += 3) {
    out[i] = rgb[j]; out[i + 1] = rgb[j + 1]; out[i + 2] = rgb[j + 2]; out[i + 3] = 255;
  }
  c.putImageData(image, x, y);
}

/** Shows title and note of panel i in the caption of its figure. */
export function fillCaption(figure, { title, note = "" }, i) {
  const node = figure.querySelector("figcaption");
  node.dataset.side = i;
  caption(node, title, note);
}

/** Gives the elements of each panel its colour in the page's theme. */
export function colourPanels(canvas, panels) {
  const dark = canvas.page.theme === "dark" ? 1 : 0;
  for (const node of canvas.all("[data-side]"))
    node.style.setProperty("--role", panels[node.dataset.side].colours[dark]);
}
