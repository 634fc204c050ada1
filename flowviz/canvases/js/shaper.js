/**
 * A schedule of one's own: alpha rises and sigma falls through points that are dragged up and down.
 * The curves follow a point while it moves; Python receives the values on release.
 */

import { Draggable, mounting } from "./base/canvas.js";
import { button, sized } from "./base/dom.js";
import { clamp } from "./base/numbers.js";

/** Step of the arrow keys; with Shift it is the smallest step. */
const STEP = 0.05;
/** CSS pixels within which a pointer grabs a point. */
const REACH = 18;
/** Intervals between knots. */
const PIECES = 5;
const MARGIN = { left: 34, right: 12, top: 12, bottom: 40 };

const rounded = (x) => Math.round(x * 100) / 100;

/** The cubics of flowviz.schedulers.Shaped: from values at even knots to [value, slope, c, d] each. */
export function pieces(values) {
  const chords = values.slice(1).map((v, i) => v - values[i]);
  const end = (chord, neighbour) =>
    Math.sign(chord) * Math.max(Math.abs(chord) / 4, Math.sign(chord) * (1.5 * chord - neighbour / 2));
  const inner = (a, b) => Math.sign(a) * Math.min(Math.abs(a + b) / 2, 2 * Math.abs(a), 2 * Math.abs(b));
  const slopes = [
    end(chords[0], chords[1]),
    ...chords.slice(1).map((b, i) => inner(chords[i], b)),
    end(chords.at(-1), chords.at(-2)),
  ];
  return chords.map((chord, i) => [
    values[i],
    slopes[i],
    3 * chord - 2 * slopes[i] - slopes[i + 1],
    slopes[i] + slopes[i + 1] - 2 * chord,
  ]);
}

/** The value of these cubics at t in [0, 1]. */
export function valueAt(cubics, t) {
  const n = cubics.length, i = Math.min(n - 1, Math.floor(t * n)), h = t * n - i;
  const [a, b, c, d] = cubics[i];
  return a + h * (b + h * (c + h * d));
}

/** The value nearest to `value` that knot i can have, `minStep` away from those of its neighbours. */
export function between(values, i, value, minStep) {
  const [low, high] = [values[i - 1], values[i + 1]].sort((a, b) => a - b);
  return rounded(clamp(value, low + minStep, high - minStep));
}

class Shaper extends Draggable {
  constructor(root) {
    super(root);
    this.curves = { alpha: [0, 0.2, 0.4, 0.6, 0.8, 1], sigma: [1, 0.8, 0.6, 0.4, 0.2, 0] };
    /** @type {[string, number]} */
    this.held = null; // [curve, knot] that is dragged
    /** @type {[string, number]} */
    this.picked = null; // [curve, knot] of the keyboard or under the pointer
  }

  show(data) {
    this.data = data;
    if (!this.held) this.set(data);
    this.find(".fh-bar").replaceChildren("Start from", ...data.presets.map((preset) =>
      button(preset.label, () => { this.set(preset); this.send(); this.redraw(); })));
    this.redraw();
  }

  set({ alpha, sigma }) {
    this.curves = { alpha: [0, ...alpha, 1], sigma: [1, ...sigma, 0] };
  }

  get values() { return { alpha: this.curves.alpha.slice(1, -1), sigma: this.curves.sigma.slice(1, -1) }; }

  send() { this.host.setTriggerValue("shape", this.values); }

  // ---- pointer and keyboard

  grab(event) {
    this.held = this.picked = this.nearest(event);
    return this.held !== null;
  }

  move(event) {
    if (this.held) this.moveTo(this.held, this.place(event)[1]);
    else this.picked = this.nearest(event);
    this.canvas.classList.toggle("near", this.picked !== null);
    this.redraw();
  }

  drop() {
    if (this.held) this.send();
    this.held = null;
  }

  blur() { this.picked = null; }

  key({ key, shiftKey }) {
    const [name, i] = this.picked ?? ["alpha", 0];
    const direction = { ArrowUp: 1, ArrowDown: -1 }[key];
    if (key === "ArrowLeft") this.picked = [name, Math.max(1, i - 1)];
    else if (key === "ArrowRight") this.picked = [name, Math.min(PIECES - 1, i + 1)];
    else if (key === " ") this.picked = [name === "alpha" ? "sigma" : "alpha", Math.max(1, i)];
    else if (direction && this.picked) {
      this.moveTo(this.picked, this.curves[name][i] + direction * (shiftKey ? this.data.least : STEP));
      this.send();
    } else return false;
    return true;
  }

  moveTo([name, i], value) {
    this.curves[name][i] = between(this.curves[name], i, value, this.data.least);
    this.root.dispatchEvent(new CustomEvent("shape", { detail: this.values, bubbles: true }));
  }

  /** [t, value] of a pointer. */
  place(event) {
    const box = this.canvas.getBoundingClientRect(), { w, h } = this.box;
    return [(event.clientX - box.left - MARGIN.left) / w, 1 - (event.clientY - box.top - MARGIN.top) / h];
  }

  /**
   * [curve, knot] within reach of a pointer, or null.
   * @returns {[string, number]}
   */
  nearest(event) {
    const [t, v] = this.place(event), { w, h } = this.box;
    /** @type {[string, number]} */
    let best = null;
    let least = REACH;
    for (const name of ["alpha", "sigma"]) for (let i = 1; i < PIECES; i++) {
      const distance = Math.hypot((t - i / PIECES) * w, (v - this.curves[name][i]) * h);
      if (distance < least) [best, least] = [[name, i], distance];
    }
    return best;
  }

  // ---- drawing

  get box() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    return { w: w - MARGIN.left - MARGIN.right, h: h - MARGIN.top - MARGIN.bottom };
  }
  X(t) { return MARGIN.left + t * this.box.w; }
  Y(v) { return MARGIN.top + (1 - v) * this.box.h; }

  draw() {
    const [c, w, h] = sized(this.canvas), { paper, theme } = this.page, colours = this.data.theme[theme];
    c.fillStyle = paper;
    c.fillRect(0, 0, w, h);
    c.font = `12px ${this.font}`;
    this.axes(c, colours);
    for (const [name, colour, ot] of [
      ["alpha", colours.own, (t) => t], ["sigma", colours.noise, (t) => 1 - t],
    ]) {
      const cubics = pieces(this.curves[name]);
      c.setLineDash([4, 4]);
      this.line(c, ot, colours.grid, 1.2);
      c.setLineDash([]);
      this.line(c, (t) => valueAt(cubics, t), colour, 2.5);
      this.curves[name].forEach((value, i) => this.point(c, name, i, value, colour, paper, colours.ink));
      this.find(`.fh-${name}`).style.color = colour;
    }
    this.write();
  }

  axes(c, { grid, muted }) {
    c.strokeStyle = grid;
    c.fillStyle = muted;
    c.lineWidth = 1;
    c.beginPath();
    for (let i = 0; i <= PIECES; i++) {
      const v = i / PIECES, x = Math.round(this.X(v)) + 0.5, y = Math.round(this.Y(v)) + 0.5;
      c.moveTo(x, this.Y(0)); c.lineTo(x, this.Y(1));
      c.moveTo(this.X(0), y); c.lineTo(this.X(1), y);
      c.textAlign = "center";
      c.fillText(v.toFixed(1), this.X(v), this.Y(0) + 16);
      c.textAlign = "right";
      c.fillText(v.toFixed(1), this.X(0) - 6, this.Y(v) + 4);
    }
    c.stroke();
    c.textAlign = "center";
    c.fillText("time t  (0 noise, 1 data)", this.X(0.5), this.Y(0) + 35);
  }

  line(c, f, colour, width) {
    c.strokeStyle = colour;
    c.lineWidth = width;
    c.beginPath();
    for (let k = 0; k <= 120; k++) c.lineTo(this.X(k / 120), this.Y(f(k / 120)));
    c.stroke();
  }

  point(c, name, i, value, colour, paper, ink) {
    const inner = i > 0 && i < PIECES, picked = this.picked?.[0] === name && this.picked[1] === i;
    c.beginPath();
    c.arc(this.X(i / PIECES), this.Y(value), picked ? 9 : inner ? 7 : 3.5, 0, 2 * Math.PI);
    c.fillStyle = colour;
    c.fill();
    if (!inner) return;
    c.lineWidth = 2;
    c.strokeStyle = picked ? ink : paper;
    c.stroke();
  }

  write() {
    const [name, i] = this.picked ?? [], symbol = { alpha: "α", sigma: "σ" }[name];
    this.find(".fh-read").textContent = name
      ? `${symbol} at t = ${(i / PIECES).toFixed(1)}: ${this.curves[name][i].toFixed(2)}`
      : "Drag the points. Dashed: conditional OT.";
    Object.assign(this.root.dataset, this.values);
  }
}

export default mounting(".fh", (root) => new Shaper(root));
