/** Sheets of images beside each other, or stacked on a narrow page. */

import { Canvas } from "../base/canvas.js";
import { element } from "../base/dom.js";
import { clamp } from "../base/numbers.js";
import { colourPanels, drawImage, fillCaption } from "./images.js";
import { arranged } from "./layout.js";

/** Height in CSS pixels of what is above the images on a page, and below the text of a lecture's step. */
const RESERVE = 250, CAPTION = 44;
/** A place without an image, light and dark. */
const EMPTY = { light: "#f0f2f4", dark: "#1b2227" };

const labels = (texts) => texts.map((text) => Object.assign(element("span", "", text), { title: text }));

export class Sheets extends Canvas {
  constructor(root) {
    super(root);
    this.width = this.height = this.ratio = 0;
    this.shape = "";
    this.stale = true;
  }

  show(data) {
    this.data = data;
    const shape = JSON.stringify(data.panels.map(({ cells, rows, columns, title, note }) =>
      [cells.shape, rows, columns, title, note]));
    if (shape !== this.shape) {
      this.shape = shape;
      this.width = 0;
      this.find(".fi-bar").hidden = this.find(".fi-strips").hidden = true;
      this.find(".fi-panels").replaceChildren(...data.panels.map((panel, i) => this.build(panel, i)));
    }
    this.stale = true;
    this.redraw();
  }

  themed() {
    this.stale = true;
    this.redraw();
  }

  build(panel, i) {
    const figure = this.clone("fi-sheets"), canvas = figure.querySelector("canvas");
    const [corner, columns, names] = figure.querySelector(".fi-sheet").children;
    const [rows, cols] = panel.cells.shape;
    fillCaption(figure, panel, i);
    figure.classList.toggle("fi-bare", !panel.rows.length);
    corner.hidden = columns.hidden = !panel.columns.length;
    corner.textContent = this.data.row_title;
    columns.append(...labels(panel.columns));
    names.append(...labels(panel.rows));
    canvas.setAttribute("aria-label", `${panel.title}: ${rows * cols} images`);
    canvas.addEventListener("mousemove", (event) => {
      const box = canvas.getBoundingClientRect();
      const r = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
      const k = clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), 0, cols - 1);
      canvas.title = this.data.panels[i].tips[r * cols + k] ?? "";
    });
    return figure;
  }

  draw() {
    const { clientWidth: width } = this.root, { room } = this, ratio = devicePixelRatio || 1;
    if (width !== this.width || room !== this.height || ratio !== this.ratio) this.lay(width, room, ratio);
    if (!this.stale) return;
    this.stale = false;
    colourPanels(this, this.data.panels);
    this.all(".fi-sheet canvas").forEach((canvas, i) => this.paint(canvas, this.data.panels[i]));
  }

  /** Height for the images; js/lecture.js measures that of a lecture's step. */
  get room() {
    const room = parseFloat(getComputedStyle(this.root).getPropertyValue("--lecture-room"));
    const lecture = document.documentElement.dataset.lecture !== undefined;
    return lecture && room ? room - CAPTION : innerHeight - RESERVE;
  }

  paint(canvas, { cells, present }) {
    const [rows, cols, h, w] = cells.shape;
    canvas.width = cols * (w + 1) - 1;
    canvas.height = rows * (h + 1) - 1;
    const c = canvas.getContext("2d");
    c.fillStyle = EMPTY[this.root.dataset.theme];
    for (let n = 0; n < rows * cols; n++) {
      const x = (n % cols) * (w + 1), y = Math.floor(n / cols) * (h + 1);
      if (present[n]) drawImage(c, cells, n * h * w * 3, w, h, x, y);
      else c.fillRect(x, y, w, h);
    }
  }

  /** Sizes and arrangement for a width and a height. */
  lay(width, height, ratio) {
    Object.assign(this, { width, height, ratio });
    const { panels } = this.data, box = this.find(".fi-panels"), [rows, cols, h, w] = panels[0].cells.shape;
    box.classList.remove("fi-once"); // which hides labels from the measurement
    const widths = this.all(".fi-rows, .fi-corner").map((node) => node.getBoundingClientRect().width);
    const haveSameRows = panels.every((panel) => String(panel.rows) === String(panels[0].rows));
    const { sideBySide, k, gap } = arranged({
      width, height, count: panels.length, rows, cols, h, w, ratio,
      label: Math.max(0, ...widths),
      labels: haveSameRows ? 1 : panels.length,
    });
    box.classList.toggle("fi-once", sideBySide && haveSameRows); // the first sheet labels the rows of all
    Object.assign(box.style, {
      columnGap: `${gap}px`, flexDirection: sideBySide ? "row" : "column",
      flexWrap: sideBySide ? "nowrap" : "wrap",
    });
    this.all(".fi-sheet").forEach((sheet, i) => {
      const [rows, cols, h, w] = panels[i].cells.shape, px = (n) => `${(n * k) / ratio}px`;
      const { style } = sheet.querySelector("canvas"), columns = sheet.querySelector(".fi-columns");
      style.width = px(cols * (w + 1) - 1);
      style.height = px(rows * (h + 1) - 1);
      sheet.querySelector(".fi-rows").style.gridTemplateRows = `repeat(${rows}, ${px(h + 1)})`;
      columns.style.gridTemplateColumns = `repeat(${cols}, ${px(w + 1)})`;
      columns.style.marginRight = px(-1); // no gap after the last image
      sheet.closest("figure").style.maxWidth = `${width}px`;
    });
    this.root.dataset.zoom = String(k);
  }
}
