/** Charts of the site in one grid, with a common cursor. */

import { Canvas } from "../base/canvas.js";
import { curveAt, drawChart, under } from "../base/chart.js";
import { element, write } from "../base/dom.js";
import { short } from "../base/numbers.js";

/**
 * Draws charts {title, x, y, lines: [{x, y, role, dash, label}]}; the colour of a line is that of its role.
 * A cursor is at the same value of all charts whose horizontal axes have the same label.
 */
export class Charts extends Canvas {
  constructor(root) {
    super(root);
    this.figures = [];
    this.cursor = null;
  }

  /** @param {{theme: any, charts: any[], legend: {label: string, role?: string, dash?: number[]}[]}} data */
  show(data) {
    this.data = data;
    if (this.figures.length !== data.charts.length) this.build();
    this.look = this.dress();
    this.find(".live-legend").replaceChildren(...data.legend.map(({ label, role = "ink", dash = [] }) => {
      const item = element("span");
      item.innerHTML = `<svg viewBox="0 0 30 8" aria-hidden="true"><path d="M0 4H30" stroke="var(--c-${role})"
        stroke-dasharray="${dash.join(" ")}"/></svg>`;
      item.append(label);
      return item;
    }));
    this.redraw();
  }

  themed() { if (this.data) this.show(this.data); }

  build() {
    this.figures = this.data.charts.map((_, k) => {
      const figure = element("figure"), title = element("figcaption"), canvas = element("canvas");
      const read = element("p", "live-read"), chart = () => this.data.charts[k];
      canvas.setAttribute("role", "img");
      canvas.addEventListener("pointermove", (event) => {
        const at = under(canvas, event, chart().x);
        this.cursor = at === null ? null : { at, label: chart().x.label };
        this.redraw();
      });
      canvas.addEventListener("pointerleave", () => { this.cursor = null; this.redraw(); });
      figure.append(title, canvas, read);
      return { figure, title, canvas, read };
    });
    this.find(".live-grid").replaceChildren(...this.figures.map(({ figure }) => figure));
  }

  draw() {
    const colour = ({ role }) => this.look.roles[role] ?? this.look.ink;
    this.figures.forEach(({ title, canvas, read }, k) => {
      const { lines, x, y, title: text } = this.data.charts[k];
      const cursor = this.cursor?.label === x.label ? this.cursor.at : null;
      write(title, text);
      canvas.setAttribute("aria-label", `${text}: ${lines.map(({ label }) => label).join(", ")}`);
      drawChart(canvas, { lines: lines.map((line) => ({ ...line, colour: colour(line) })), x, y, cursor },
        this.look, this.font);
      const values = cursor === null ? [] : lines.map((line) => ({ line, value: curveAt(line, cursor) }));
      read.replaceChildren(...(cursor === null ? [] : [`${x.label} ${short(cursor)}:`]),
        ...values.filter(({ value }) => value !== null).map(({ line, value }) => {
          const made = element("b", "", short(value));
          made.style.color = colour(line);
          made.title = line.label;
          return made;
        }));
    });
  }
}
