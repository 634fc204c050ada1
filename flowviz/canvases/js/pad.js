/**
 * The drawing pad, in two modes: "strokes", whose points are sent on Apply, and "means", the centres of
 * Gaussians, which are sent after one has been placed, moved or removed. Mouse, pen and touch draw; the
 * arrow keys move a cursor that can draw and place, too.
 */

import { Draggable, mounting } from "./base/canvas.js";
import { sized } from "./base/dom.js";
import { clamp } from "./base/numbers.js";

/** Step of the keyboard's cursor in the plane. */
const STEP = 0.25;
/** Smallest distance between points along a stroke. */
const MIN_SPACING = 0.03;
/** The ring of points of a click without a movement. */
const DOT = { points: 12, radius: 0.08 };
/** CSS pixels within which a pointer grabs a mean. */
const REACH = 12;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const rounded = (x) => Math.round(x * 1000) / 1000;

/** Length of a stroke [[x, y], ...]. */
export function strokeLength(stroke) {
  let total = 0;
  for (let i = 1; i < stroke.length; i++) total += distance(stroke[i - 1], stroke[i]);
  return total;
}

/** Points evenly along all strokes, at most `max`; a stroke without length becomes a small ring. */
export function sample(strokes, max) {
  const dots = strokes.filter((s) => strokeLength(s) < MIN_SPACING);
  const lines = strokes.filter((s) => strokeLength(s) >= MIN_SPACING);
  const total = lines.reduce((sum, s) => sum + strokeLength(s), 0);
  const spacing = Math.max(MIN_SPACING, total / Math.max(1, max - dots.length * DOT.points));
  const points = [];
  for (const [x, y] of dots.map((s) => s[0]))
    for (let k = 0; k < DOT.points; k++) {
      const angle = (2 * Math.PI * k) / DOT.points;
      points.push([x + DOT.radius * Math.cos(angle), y + DOT.radius * Math.sin(angle)]);
    }
  let left = spacing / 2; // length until the next point, carried from stroke to stroke
  for (const stroke of lines)
    for (let i = 1; i < stroke.length; i++) {
      const [a, b] = [stroke[i - 1], stroke[i]];
      const length = distance(a, b);
      let at = left;
      for (; at < length; at += spacing)
        points.push([a[0] + ((b[0] - a[0]) * at) / length, a[1] + ((b[1] - a[1]) * at) / length]);
      left = at - length;
    }
  return points.slice(0, max).map(([x, y]) => [rounded(x), rounded(y)]);
}

class Pad extends Draggable {
  constructor(root) {
    super(root);
    this.count = this.find(".fp-count");
    this.buttons = Object.fromEntries(this.all("button").map((node) => [node.dataset.act, node]));
    this.strokes = [];
    this.means = [];
    this.past = []; // earlier states, for undo
    this.stroke = null; // being drawn
    this.held = -1; // the mean that is dragged
    this.cursor = null; // of the keyboard, after an arrow key
    this.pen = false; // the keyboard's pen is down
    this.canvas.addEventListener("dblclick", (event) => this.remove(this.at(event)));
    for (const act of ["undo", "clear", "apply"])
      this.buttons[act].addEventListener("click", () => this[act]());
  }

  show(data) {
    this.data = data;
    if (data.mode === "means" && this.held < 0) this.means = data.means.map((mean) => [...mean]);
    this.buttons.apply.hidden = data.mode === "means";
    this.canvas.setAttribute("aria-label", this.canvas.dataset[data.mode]);
    this.redraw();
  }

  // ---- pointer and keyboard

  grab(event) {
    this.cursor = null;
    this.down(this.at(event));
    return true;
  }

  move(event) {
    if (!this.canvas.hasPointerCapture(event.pointerId)) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) this.moveTo(this.at(step));
  }

  drop() {
    const moved = this.held >= 0;
    this.pen = false;
    this.stroke = null;
    this.held = -1;
    if (moved) this.sendMeans();
    this.redraw();
  }

  blur() {
    if (this.pen) this.drop();
    this.cursor = null;
  }

  key(event) {
    const move = MOVES[event.key], { cursor } = this;
    if (move) {
      const step = event.shiftKey ? STEP / 5 : STEP;
      this.cursor = cursor ? this.inside([cursor[0] + move[0] * step, cursor[1] + move[1] * step]) : [0, 0];
      if (this.pen) this.moveTo(this.cursor);
    } else if (event.key === " ") this.togglePen();
    else if (event.key === "Enter") {
      if (this.pen) this.drop();
      this.apply();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      if (cursor) this.remove(cursor);
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else return false;
    return true;
  }

  togglePen() {
    if (this.pen) { this.drop(); return; }
    this.cursor ??= [0, 0];
    this.down(this.cursor);
    this.pen = this.stroke !== null || this.held >= 0;
  }

  /** Place of a pointer in the plane, inside the frame. */
  at(event) {
    const box = this.canvas.getBoundingClientRect(), { frame } = this.data, unit = (2 * frame) / box.width;
    return this.inside([(event.clientX - box.left) * unit - frame, frame - (event.clientY - box.top) * unit]);
  }

  inside(point) {
    return point.map((v) => rounded(clamp(v, -this.data.frame, this.data.frame)));
  }

  /** Index of the nearest mean within reach of a place, or -1. */
  nearest(point) {
    const radius = (REACH / this.canvas.clientWidth) * 2 * this.data.frame;
    const distances = this.means.map((mean) => distance(mean, point)), smallest = Math.min(...distances);
    return smallest <= radius ? distances.indexOf(smallest) : -1;
  }

  // ---- changes

  remember() {
    this.past.push(JSON.stringify([this.strokes, this.means]));
    if (this.past.length > 100) this.past.shift();
  }

  down(point) {
    if (this.data.mode === "strokes") {
      this.remember();
      this.stroke = [point];
      this.strokes.push(this.stroke);
      return;
    }
    this.held = this.nearest(point);
    if (this.held < 0 && this.means.length >= this.data.most) return;
    this.remember();
    if (this.held < 0) this.held = this.means.push(point) - 1;
  }

  moveTo(point) {
    if (this.stroke && distance(this.stroke.at(-1), point) > 0.01) this.stroke.push(point);
    if (this.held >= 0) this.means[this.held] = point;
    this.redraw();
  }

  remove(point) {
    const i = this.data.mode === "means" ? this.nearest(point) : -1;
    if (i < 0 || this.means.length < 2) return; // a mixture has at least one mean
    this.remember();
    this.means.splice(i, 1);
    this.sendMeans();
    this.redraw();
  }

  undo() {
    if (!this.past.length) return;
    [this.strokes, this.means] = JSON.parse(this.past.pop());
    this.sendMeans();
    this.redraw();
  }

  clear() {
    this.remember();
    this.strokes = [];
    if (this.data.mode === "means") this.means = [[0, 0]];
    this.sendMeans();
    this.redraw();
  }

  sendMeans() {
    if (this.data.mode === "means") this.host.setTriggerValue("means", this.means);
  }

  apply() {
    if (this.data.mode !== "strokes" || this.buttons.apply.disabled) return;
    this.host.setTriggerValue("drawing", sample(this.strokes, this.data.most));
  }

  // ---- drawing

  draw() {
    const { data, cursor } = this, [c, size] = sized(this.canvas), { paper, theme } = this.page;
    const colours = data.theme[theme], scale = size / (2 * data.frame);
    const X = (x) => size / 2 + x * scale, Y = (y) => size / 2 - y * scale;
    const lines = (width, colour, list) => {
      c.strokeStyle = colour;
      c.lineWidth = width;
      c.beginPath();
      for (const [x0, y0, x1, y1] of list) { c.moveTo(x0, y0); c.lineTo(x1, y1); }
      c.stroke();
    };
    c.globalAlpha = 1;
    c.fillStyle = paper;
    c.fillRect(0, 0, size, size);
    const marks = Array.from({ length: 2 * Math.floor(data.frame) - 1 }, (_, i) =>
      Math.round(X(i + 1 - Math.floor(data.frame))) + 0.5);
    lines(1, colours.grid, marks.flatMap((v) => [[v, 0, v, size], [0, v, size, v]]));
    c.fillStyle = c.strokeStyle = colours.data;
    if (data.mode === "strokes") this.drawStrokes(c, X, Y);
    else this.drawMeans(c, X, Y, scale, paper);
    if (cursor) {
      const [x, y] = [X(cursor[0]), Y(cursor[1])];
      lines(this.pen ? 2.5 : 1.2, colours.ink, [[x - 8, y, x + 8, y], [x, y - 8, x, y + 8]]);
    } else if (data.hint && !this.strokes.length) {
      c.fillStyle = colours.muted;
      c.font = `13px ${this.font}`;
      c.textAlign = "center";
      c.fillText(data.hint, size / 2, size - 12);
    }
    this.writeCount();
  }

  drawStrokes(c, X, Y) {
    c.globalAlpha = 0.35;
    for (const [x, y] of this.data.points) c.fillRect(X(x) - 1, Y(y) - 1, 2, 2);
    c.globalAlpha = 1;
    c.lineWidth = 4;
    c.lineCap = c.lineJoin = "round";
    for (const stroke of this.strokes) {
      c.beginPath();
      c.moveTo(X(stroke[0][0]) - 0.01, Y(stroke[0][1])); // a single point is a dot
      for (const [x, y] of stroke) c.lineTo(X(x), Y(y));
      c.stroke();
    }
  }

  drawMeans(c, X, Y, scale, paper) {
    c.strokeStyle = paper;
    c.lineWidth = 2;
    const circle = (x, y, r) => { c.beginPath(); c.arc(X(x), Y(y), r, 0, 2 * Math.PI); c.fill(); };
    this.means.forEach(([x, y], i) => {
      for (const [times, alpha] of [[2, 0.14], [1, 0.22]]) {
        c.globalAlpha = alpha;
        circle(x, y, Math.max(2, times * this.data.std * scale));
      }
      c.globalAlpha = 1;
      circle(x, y, i === this.held ? 7 : 5);
      c.stroke();
    });
  }

  writeCount() {
    const strokes = this.data.mode === "strokes", { least, most } = this.data;
    const n = strokes ? sample(this.strokes, most).length : this.means.length;
    const points = n ? `${n} point${n === 1 ? "" : "s"}` : "";
    this.count.textContent = strokes ? points : `${n} of at most ${most}`;
    this.count.title = strokes && n < least ? `At least ${least} points are needed.` : "";
    this.buttons.undo.disabled = !this.past.length;
    this.buttons.clear.disabled = strokes ? !this.strokes.length : this.means.length < 2;
    this.buttons.apply.disabled = n < least || this.stroke !== null;
    this.root.dataset.count = String(n);
  }
}

export default mounting(".fp", (root) => new Pad(root));
