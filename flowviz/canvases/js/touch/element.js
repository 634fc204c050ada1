/**
 * The plane of "Vector field". The path's coefficients come as a table with one row for each
 * position of the slider, so that nothing is interpolated. Python is informed of t and x on release.
 */

import { drawAxes } from "../base/axes.js";
import { Clocked } from "../base/canvas.js";
import { ramp } from "../base/colour.js";
import { element, onDrag, onKey, press, save, showReadouts, sized, write } from "../base/dom.js";
import { clamp, nearest } from "../base/numbers.js";
import { targetOf } from "../engine/target.js";
import { surface } from "../player/pixels.js";
import { legendOf, notice, readouts } from "./notice.js";
import { arrows, diamond, paintParts, paintPoints, paintTrajectories } from "./painting.js";
import { overParts, overPoints, partsOf, summary, workspace } from "./posterior.js";
import { grouped, ranks, rowsOf, selected } from "./selection.js";

/** Trajectories and arrows that are drawn, at most. */
const MAX_DRAWN = 160, MAX_ARROWS = 60;
/** Length in the plane of the arrow of a conditional velocity of typical size. */
const REACH = 2.4;
/** Cells of the density's picture along each side. */
const CELLS = 72;
/** Margins in CSS pixels. */
const EDGE = { left: 30, right: 2, top: 2 };
const LAYERS = ["paths", "arrows", "density"];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Touch extends Clocked {
  constructor(root) {
    super(root);
    this.sweep = 7;
    this.canvas = this.find(".fw-plot canvas");
    this.pictures = this.textTime = this.k = this.x = this.y = 0;
    this.ride = false;
    this.trail = new Map(); // x at the rows of the table that this ride has visited
    this.layers = new Set();
    this.bind();
  }

  show(data) {
    const first = !this.data, points = data.points.length / 2;
    this.data = data;
    this.parts = partsOf(data.distribution);
    const parts = this.parts.logs.length;
    this.rank = { points: ranks(points), parts: ranks(parts) };
    this.workspaces = { points: workspace(points), parts: workspace(parts) };
    this.rows = rowsOf(data.alpha, data.sigma);
    this.range.max = this.end;
    if (first) this.begin(data.key, data.initial);
    this.k = Math.min(this.k, this.end);
    this.root.classList.toggle("fw-stage", data.reserve === null);
    this.root.style.setProperty("--reserve", `${data.reserve}px`);
    write(this.find(".fw-what"), legendOf(data));
    write(this.find(".fw-path"), `conditional trajectories through (t, x), ${data.path}`);
    this.trail.clear();
    this.themed();
  }

  open({ t, x, y, layers }) {
    Object.assign(this, { x, y, k: nearest(this.data.times, t), layers: new Set(layers) });
    this.clock.t = t;
  }

  get end() { return this.data.times.length - 1; }
  get t() { return this.data.times[this.k]; }
  get seen() {
    return { t: this.t, x: this.x, y: this.y, layers: LAYERS.filter((name) => this.layers.has(name)) };
  }

  coefficients(k = this.k) {
    const { alpha, sigma, dAlpha, dSigma } = this.data;
    return { alpha: alpha[k], sigma: sigma[k], dAlpha: dAlpha[k], dSigma: dSigma[k] };
  }

  // ---- controls

  bind() {
    const { root, canvas } = this;
    for (const node of this.all("[data-act]")) node.addEventListener("click", () => this[node.dataset.act]());
    for (const node of this.all("[data-layer]"))
      node.addEventListener("click", () => this.toggleLayer(node.dataset.layer));
    const putAt = (event) => {
      const box = canvas.getBoundingClientRect(), { frame } = this.data;
      const unit = (2 * frame) / (box.width - EDGE.left - EDGE.right);
      const x = event.clientX - box.left - EDGE.left, y = event.clientY - box.top - EDGE.top;
      this.put(x * unit - frame, frame - y * unit);
    };
    onDrag(canvas, {
      grab: (event) => { this.busy = true; putAt(event); return true; },
      move: (event) => { if (this.busy) putAt(event); },
      drop: () => { if (this.busy) { this.busy = false; this.report(); } },
    });
    onKey(root, (event) => {
      const move = event.target === canvas && MOVES[event.key], step = event.shiftKey ? 0.02 : 0.1;
      if (move) {
        this.put(this.x + move[0] * step, this.y + move[1] * step);
        this.report(250);
      } else if (event.key === " " && event.target.tagName !== "BUTTON") this.act({ type: "toggle" });
      else if (event.key.toLowerCase() === "r") this.toggleRide();
      else return false;
      return true;
    });
  }

  toggleLayer(name) {
    if (!this.layers.delete(name)) this.layers.add(name);
    this.report(300);
    this.redraw();
  }

  toggleRide() {
    this.ride = !this.ride;
    this.trail.clear();
    this.redraw();
  }

  put(x, y) {
    const { frame } = this.data;
    this.x = clamp(x, -frame, frame);
    this.y = clamp(y, -frame, frame);
    this.trail.clear();
    this.redraw();
  }

  act(action) {
    super.act(action);
    this.move(nearest(this.data.times, this.clock.t));
  }

  /** Moves to row `aim` of the table. On a ride, x moves with the flow by Heun's method between rows;
   *  backward it takes the stored places, since the flow backward from t = 1 is unstable. */
  move(aim) {
    const { times, frame } = this.data, bounded = (v) => clamp(v, -3 * frame, 3 * frame);
    while (this.ride && this.k !== aim) {
      const next = this.k + Math.sign(aim - this.k), dt = times[next] - times[this.k];
      this.trail.set(this.k, [this.x, this.y]);
      if (!this.trail.has(next)) {
        const a = this.velocity(this.k, this.x, this.y);
        const b = this.velocity(next, this.x + dt * a.u, this.y + dt * a.v), half = dt / 2;
        this.trail.set(next, [bounded(this.x + half * (a.u + b.u)), bounded(this.y + half * (a.v + b.v))]);
      }
      [this.x, this.y] = this.trail.get(next);
      this.k = next;
    }
    this.k = aim;
  }

  velocity(k, x, y) {
    const c = this.coefficients(k);
    return summary(this.posterior(this.data.over, c, x, y), c);
  }

  posterior(over, c, x, y) {
    return over === "points" ? overPoints(this.data.points, c, x, y, this.workspaces.points)
      : overParts(this.parts, c, x, y, this.workspaces.parts);
  }

  /** The posterior that is shown with its summary, and the summary of the closed form. */
  compute(c) {
    const { over } = this.data, exact = summary(this.posterior("parts", c, this.x, this.y), c);
    if (over === "parts") return { post: this.workspaces.parts, drawn: exact, exact };
    const post = this.posterior("points", c, this.x, this.y);
    return { post, drawn: summary(post, c), exact };
  }

  // ---- drawing

  themed() {
    if (!this.data) return;
    this.look = this.dress();
    this.picture = null;
    this.redraw();
  }

  draw(now) {
    this.advance(now);
    const began = performance.now(), c = this.coefficients(), [context, size] = sized(this.canvas);
    const view = this.compute(c), { drawn, exact } = view;
    this.paint(context, size, c, view);
    this.write(view);
    this.showClock(this.k, `t = ${this.t.toFixed(3)}`);
    press(this.find('[data-act="toggleRide"]'), this.ride);
    for (const node of this.all("[data-layer]")) press(node, this.layers.has(node.dataset.layer));
    Object.assign(this.root.dataset, {
      drawn: ++this.pictures, t: this.t.toFixed(3), x: this.x.toFixed(3), y: this.y.toFixed(3),
      u: drawn.u, v: drawn.v, exactU: exact.u, exactV: exact.v,
      paint: (performance.now() - began).toFixed(1),
    });
  }

  /** The plane, `size` CSS pixels wide, on a context. */
  paint(g, size, c, { post, drawn, exact }) {
    const { data, look } = this, { frame, over } = data, { left, top } = EDGE;
    const side = size - left - EDGE.right, scale = side / (2 * frame), dot = clamp(side / 520, 0.7, 1.6);
    const X = (x) => left + (x + frame) * scale, Y = (y) => top + (frame - y) * scale;
    const p = { g, X, Y, scale, dot, look };
    g.globalAlpha = 1;
    g.fillStyle = look.paper;
    g.fillRect(0, 0, size, size);
    g.save();
    g.beginPath(); g.rect(left, top, side, side); g.clip();
    if (this.layers.has("density")) g.drawImage(this.density(c), left, top, side, side);
    if (over === "parts") paintParts(p, post, this.parts);
    else paintPoints(p, post);
    if (this.layers.has("paths"))
      paintTrajectories(p, grouped(selected(post.w, this.rank[over], MAX_DRAWN)), post, data, this.rows);
    if (this.layers.has("arrows")) this.paintArrows(p, c, post);
    this.paintTrail(p);
    this.paintMeans(p, drawn, exact);
    g.restore();
    const { hair, muted } = look, window = { x: 0, y: 0, r: frame };
    drawAxes(g, { left, top, side, window, hair, muted, font: this.font });
  }

  /** From x, an arrow of the velocity (u, v) in pixels; all arrows of a moment have one scale. */
  arrow({ X, Y }, u, v) {
    const k = REACH / this.data.speed[this.k];
    return [X(this.x), Y(this.y), X(this.x + k * u), Y(this.y + k * v)];
  }

  paintArrows(p, c, post) {
    const { g, dot, look } = p;
    g.strokeStyle = g.fillStyle = look.ink;
    for (const { alpha, items } of grouped(selected(post.w, this.rank[this.data.over], MAX_ARROWS))) {
      g.globalAlpha = alpha;
      arrows(g, items.map(({ i }) => this.arrow(p,
        c.dAlpha * post.data[2 * i] + c.dSigma * post.noise[2 * i],
        c.dAlpha * post.data[2 * i + 1] + c.dSigma * post.noise[2 * i + 1],
      )), (0.8 + 1.2 * alpha) * dot, (6 + 4 * alpha) * dot);
    }
  }

  paintTrail({ g, X, Y, dot, look }) {
    g.globalAlpha = 0.8;
    g.strokeStyle = look.ink; g.lineWidth = 2 * dot;
    g.beginPath();
    for (const [, [x, y]] of [...this.trail].sort(([a], [b]) => a - b)) g.lineTo(X(x), Y(y));
    g.stroke();
    g.globalAlpha = 1;
  }

  /** The weighted mean, the closed form, the mean of the data and x. */
  paintMeans(p, drawn, exact) {
    const { g, X, Y, dot, look } = p;
    for (const [colour, more] of [[look.paper, 3.5], [look.ink, 0]]) {
      g.strokeStyle = g.fillStyle = colour;
      arrows(g, [this.arrow(p, drawn.u, drawn.v)], 5 * dot + more, 17 * dot + more);
    }
    g.strokeStyle = g.fillStyle = look.exact;
    arrows(g, [this.arrow(p, exact.u, exact.v)], 2.2 * dot, 9 * dot);
    diamond(g, X(drawn.mx), Y(drawn.my), 5.5 * dot, look.data, look.paper);
    g.beginPath(); g.arc(X(this.x), Y(this.y), 6 * dot, 0, 7);
    g.fillStyle = look.paper; g.strokeStyle = look.ink; g.lineWidth = 2.2 * dot;
    g.fill(); g.stroke();
  }

  /** The density as a small picture, made again if t, data or theme change. */
  density(c) {
    if (this.picture?.k === this.k) return this.picture.canvas;
    const { frame } = this.data, grid = new Float64Array(CELLS * CELLS);
    const axis = Float64Array.from({ length: CELLS }, (_, i) => frame * ((2 * i + 1) / CELLS - 1));
    targetOf(this.data).density(c, axis, grid);
    const peak = grid.slice().sort()[Math.floor(0.995 * grid.length)] || 1;
    const canvas = element("canvas"), s = surface(CELLS), colours = ramp(this.look.density);
    const top = colours.length - 1;
    canvas.width = canvas.height = CELLS;
    for (let j = 0, q = 0; j < CELLS; j++) for (let i = 0; i < CELLS; i++, q++) // row 0 is the lowest
      s.px[(CELLS - 1 - j) * CELLS + i] = colours[(Math.sqrt(Math.min(1, grid[q] / peak)) * top) | 0];
    canvas.getContext("2d").putImageData(s.image, 0, 0);
    this.picture = { k: this.k, canvas };
    return canvas;
  }

  // ---- text

  write(view) {
    const { over, words } = this.data, now = performance.now();
    // Nobody reads sixty numbers a second, and each new one costs the browser a layout.
    clearTimeout(this.writing);
    if (now - this.textTime < 80) { this.writing = setTimeout(() => this.redraw(), 90); return; }
    this.textTime = now;
    showReadouts(this.find(".fw-readouts"), readouts({ ...view, over, words }));
    const { post, drawn } = view;
    const html = notice({ ...view, n: post.n, over, words, heaviest: post.w[drawn.best] });
    if (html !== this.noticed) this.find(".fw-notice").innerHTML = this.noticed = html;
  }

  png() {
    const canvas = element("canvas"), g = canvas.getContext("2d"), size = 700, c = this.coefficients();
    canvas.width = canvas.height = 2 * size;
    g.scale(2, 2);
    this.paint(g, size, c, this.compute(c));
    save(canvas, `flowviz-why-t${this.t.toFixed(3)}.png`);
  }

  leave() {
    super.leave();
    clearTimeout(this.writing);
  }
}
