/** The monitor draws one payload a second; between two payloads the particles move smoothly. */

import { Clocked } from "../base/canvas.js";
import { locate } from "../base/clock.js";
import { element, press, sized, write } from "../base/dom.js";
import { blend, short, whole } from "../base/numbers.js";
import { dequantised } from "../base/wire.js";
import { dots } from "../player/legend.js";
import { axisEnd, curveAt, drawChart, stepUnder } from "./chart.js";

/** Milliseconds from one live picture to the next. */
const GLIDE = 450;

export class Monitor extends Clocked {
  constructor(root) {
    super(root);
    this.sweep = 5;
    this.segment = this.find(".fm-segment");
    this.charts = this.all(".fm-chart").map((figure) => ({
      isLoss: figure.dataset.chart === "loss",
      title: figure.querySelector(".fm-title"),
      canvas: figure.querySelector("canvas"),
      values: figure.querySelector(".fm-values"),
      text: "",
    }));
    this.loss = "excess";
    this.hover = null;
    this.panels = [];
    this.from = null;
    this.payloads = this.began = 0;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.bind();
  }

  bind() {
    this.segment.addEventListener("click", (event) => {
      const chosen = event.target.closest("button");
      if (!chosen || chosen.disabled) return;
      this.loss = chosen.dataset.loss;
      this.redraw();
    });
    for (const { canvas } of this.charts) {
      const hover = (step) => { this.hover = step; this.redraw(); };
      canvas.addEventListener("pointermove", (event) => hover(stepUnder(canvas, event, this.end)));
      canvas.addEventListener("pointerleave", () => hover(null));
    }
  }

  /** Python is not informed of the replay. */
  report() {}

  get end() { return axisEnd(this.data.step, this.data.steps); }
  get step() { return this.ended ? this.clock.t * this.data.step : this.data.step; }

  show(data) {
    const before = this.data;
    data.points = dequantised(data.data, data.limit);
    for (const panel of data.panels)
      panel.points = panel.frames && dequantised(panel.frames, data.limit);
    this.data = data;
    this.ended = data.state === "ended" && data.frame_steps.length > 1;
    if (this.panels.length !== data.panels.length) {
      this.panels = data.panels.map(() => this.makePanel());
      this.find(".fm-panels").replaceChildren(...this.panels.map((panel) => panel.figure));
    }
    this.find(".fm-board").dataset.panels = data.panels.length;
    this.root.classList.toggle("fm-stage", data.reserve === null);
    this.root.style.setProperty("--reserve", `${data.reserve}px`);
    if (!this.ended || before?.run !== data.run || before.step !== data.step)
      this.clock = { t: 1, playing: false, speed: 1 };
    this.range.disabled = this.play.disabled = !this.ended;
    this.range.max = this.ended ? data.step : data.steps;
    const glides = before?.run === data.run && !this.ended && !this.still.matches && !document.hidden;
    this.from = glides ? this.panels.map((panel) => panel.points) : null;
    this.began = performance.now();
    this.payloads += 1;
    Object.assign(this.root.dataset, { state: data.state, step: data.step, payloads: this.payloads });
    this.redraw();
  }

  makePanel() {
    const figure = this.clone("fm-panel");
    const [name, note, canvas, message] = figure.querySelectorAll("span, canvas, p");
    return { figure, name, note, canvas, message, points: null };
  }

  draw(now) {
    this.advance(now);
    const { data, ended } = this, share = Math.min(1, (now - this.began) / GLIDE);
    this.theme = this.dress();
    this.panels.forEach((panel, j) => {
      panel.points = this.pointsOf(data.panels[j], this.from?.[j], share * (2 - share));
      this.drawPanel(panel, data.panels[j]);
    });
    for (const chart of this.charts) this.drawChart(chart);
    this.showLegend();
    const steps = whole(data.steps), text = `step ${whole(this.step)} of ${steps}`;
    this.showClock(this.step, data.step || ended ? text : `${steps} steps`, "Replay the training");
    if (this.from && share < 1) this.redraw();
  }

  /** The points of a panel now: of the replay, or on the way from the last payload; null without. */
  pointsOf({ points, frames }, from, share) {
    if (!points) return null;
    const size = points.length / frames.shape[0], out = new Float32Array(size);
    if (from?.length === size) return blend(from, 0, points, 0, share, out);
    const { k, f } = this.ended ? locate(this.data.frame_steps, this.step) : { k: frames.shape[0] - 1, f: 0 };
    return blend(points, k * size, points, (f > 0 ? k + 1 : k) * size, f, out);
  }

  drawPanel(panel, { role, label }) {
    const { canvas, points } = panel, { data } = this;
    const [c, size] = sized(canvas), unit = Math.max(1, size / 300);
    const scale = size / (2 * data.frame), metric = data.charts.quality;
    const dots = (points, colour, alpha, side, classes = null) => {
      c.fillStyle = colour;
      c.globalAlpha = alpha;
      const x = size / 2 - side / 2, y = size / 2 - side / 2;
      for (let i = 0; i < points.length; i += 2) {
        if (classes) c.fillStyle = this.theme.classes[classes[i / 2]];
        c.fillRect(x + points[i] * scale, y - points[i + 1] * scale, side, side);
      }
      c.globalAlpha = 1;
    };
    c.clearRect(0, 0, size, size);
    dots(data.points, this.theme.roles.data, points ? 0.38 : 0.6, 1.5 * unit, data.classes);
    if (points) dots(points, this.colour(role), 0.8, 1.7 * unit);
    panel.figure.style.setProperty("--role", this.colour(role));
    const line = metric.lines.find((each) => each.role === role && each.label === label);
    const quality = line && curveAt(line, this.step);
    write(panel.name, label);
    write(panel.note, quality == null ? "" : `${data.metric} ${short(quality)}`);
    write(panel.message, points ? "" : data.message);
    canvas.setAttribute("aria-label",
      `${label}: ${points ? "live samples over " : ""}points of the data. ${panel.note.textContent}`);
  }

  /** What the points behind the samples are. */
  showLegend() {
    const { class_names: names } = this.data, { theme } = this;
    const colours = names ? names.map(([index]) => theme.classes[index]) : [theme.roles.data];
    if (this.legend === colours.join()) return;
    this.legend = colours.join();
    this.find(".fm-dots").replaceChildren(...dots(colours));
    write(this.find(".fm-what"), names ? "data points by class" : "data points");
  }

  drawChart(chart) {
    const { excess, loss, quality } = this.data.charts, { theme, font, hover, end } = this;
    const curves = !chart.isLoss ? quality : this.loss === "excess" && excess ? excess : loss;
    if (chart.isLoss) for (const node of this.segment.children) {
      node.disabled = node.dataset.loss === "excess" && !excess;
      press(node, node.dataset.loss === (curves === excess ? "excess" : "loss"));
    }
    write(chart.title, curves.title);
    chart.title.title = curves.title;
    const cursor = hover ?? (this.ended ? this.step : null), colour = (role) => this.colour(role);
    drawChart(chart.canvas, curves, { end, cursor, theme, font, colour });
    this.writeValues(chart, curves, cursor);
  }

  /** The values of all curves at the cursor, below the chart. */
  writeValues(chart, curves, cursor) {
    const parts = curves.lines.map((line) => {
      const value = curveAt(line, cursor ?? Infinity);
      return [this.colour(line.role), line.label, value === null ? "–" : short(value), ""];
    });
    const { floor, floor_label: label } = curves;
    if (floor) parts.push([this.theme.roles.data, label, short(floor), "fm-dotted"]);
    const text = JSON.stringify(parts);
    if (chart.text === text) return;
    chart.text = text;
    chart.values.replaceChildren(...parts.map(([colour, label, value, dotted]) => {
      const span = element("span"), key = element("i", dotted);
      key.style.setProperty("--role", colour);
      span.append(key, label, element("b", "", value));
      return span;
    }));
    const values = parts.map(([, label, value]) => `${label} ${value}`).join(", ");
    chart.canvas.setAttribute("aria-label", `${curves.title}. ${values}`);
  }

  colour(role) { return this.theme.roles[role] ?? this.theme.ink; }
}
