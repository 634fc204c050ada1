// The visitor's own schedule: alpha rises and sigma falls through points that are dragged up and
// down. The curves are drawn while a point moves; Python hears of the values when it is let go.

const STEP = 0.05; // of the arrow keys; with Shift the least step
const REACH = 18; // px within which a point is taken hold of
const PAD = { left: 34, right: 12, top: 12, bottom: 40 };
const mounts = new WeakMap(); // survives new data: Streamlit keeps the node under a stable key

const rounded = (x) => Math.round(x * 100) / 100;

// The cubics of flowviz.schedulers.Shaped: values at even knots to [value, slope, c, d] each.
export function pieces(values) {
  const chords = values.slice(1).map((v, i) => v - values[i]);
  const end = (chord, beside) =>
    Math.sign(chord) * Math.max(Math.abs(chord) / 4, Math.sign(chord) * (1.5 * chord - beside / 2));
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

// The value of such cubics at t in [0, 1].
export function valueAt(cubics, t) {
  const n = cubics.length, i = Math.min(n - 1, Math.floor(t * n)), h = t * n - i;
  const [a, b, c, d] = cubics[i];
  return a + h * (b + h * (c + h * d));
}

// Where a knot may lie between its neighbours, `least` from each.
export function between(values, i, wanted, least) {
  const [low, high] = [values[i - 1], values[i + 1]].sort((a, b) => a - b);
  return rounded(Math.min(high - least, Math.max(low + least, wanted)));
}

class Shaper {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.read = root.querySelector(".fh-read");
    this.bar = root.querySelector(".fh-bar");
    this.curves = { alpha: [0, 0.2, 0.4, 0.6, 0.8, 1], sigma: [1, 0.8, 0.6, 0.4, 0.2, 0] };
    this.held = null; // [curve, knot] being dragged
    this.picked = null; // [curve, knot] of the keyboard or under the pointer
    this.frame = 0;
    this.sizes = new ResizeObserver(() => this.redraw());
    this.listen();
  }

  listen() {
    const { canvas, root } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      this.held = this.picked = this.nearest(event);
      if (this.held) canvas.setPointerCapture(event.pointerId);
      this.redraw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.held) this.move(this.held, this.place(event)[1]);
      else this.picked = this.nearest(event);
      canvas.classList.toggle("near", !!this.picked);
      this.redraw();
    });
    const up = () => {
      if (this.held) this.tell();
      this.held = null;
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.picked = null;
      this.redraw();
    });
    root.querySelector(".fh-theme").addEventListener("transitionend", () => this.redraw());
  }

  show(data, send) {
    this.sizes.observe(this.canvas);
    this.send = send;
    this.data = data;
    if (!this.held) this.set(data);
    this.bar.replaceChildren("Start from", ...data.presets.map((preset) => this.button(preset)));
    this.redraw();
    this.root.dataset.ready = +(this.root.dataset.ready || 0) + 1;
  }

  set({ alpha, sigma }) {
    this.curves = { alpha: [0, ...alpha, 1], sigma: [1, ...sigma, 0] };
  }

  button(preset) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = preset.label;
    button.addEventListener("click", () => {
      this.set(preset);
      this.tell();
      this.redraw();
    });
    return button;
  }

  get box() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    return { w: w - PAD.left - PAD.right, h: h - PAD.top - PAD.bottom };
  }
  X(t) { return PAD.left + t * this.box.w; }
  Y(v) { return PAD.top + (1 - v) * this.box.h; }

  // [t, value] of a pointer.
  place(event) {
    const r = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - r.left - PAD.left) / this.box.w,
      1 - (event.clientY - r.top - PAD.top) / this.box.h,
    ];
  }

  nearest(event) {
    const [t, v] = this.place(event);
    let best = null, least = REACH;
    for (const name of ["alpha", "sigma"])
      this.curves[name].forEach((value, i) => {
        if (i === 0 || i === 5) return;
        const d = Math.hypot((t - i / 5) * this.box.w, (v - value) * this.box.h);
        if (d < least) [best, least] = [[name, i], d];
      });
    return best;
  }

  move([name, i], wanted) {
    this.curves[name][i] = between(this.curves[name], i, wanted, this.data.least);
    this.redraw();
  }

  key(event) {
    const [name, i] = this.picked || ["alpha", 0];
    const step = (event.shiftKey ? this.data.least : STEP) * { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "ArrowLeft") this.picked = [name, Math.max(1, i - 1)];
    else if (event.key === "ArrowRight") this.picked = [name, Math.min(4, i + 1)];
    else if (event.key === " ") this.picked = [name === "alpha" ? "sigma" : "alpha", Math.max(1, i)];
    else if (step && this.picked) {
      this.move(this.picked, this.curves[name][i] + step);
      this.tell();
    } else return;
    event.stopPropagation();
    event.preventDefault();
    this.redraw();
  }

  tell() {
    this.send("shape", { alpha: this.curves.alpha.slice(1, 5), sigma: this.curves.sigma.slice(1, 5) });
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.data && this.canvas.clientWidth) this.draw();
    });
  }

  leave() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.sizes.disconnect();
  }

  draw() {
    const { canvas, data } = this;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio))
      [canvas.width, canvas.height] = [Math.round(w * ratio), Math.round(h * ratio)];
    const paper = getComputedStyle(this.root.querySelector(".fh-theme")).backgroundColor;
    const [r, g, b] = (paper.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    const colours = data.theme[0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light"];
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = paper;
    c.fillRect(0, 0, w, h);
    c.font = `12px ${getComputedStyle(this.root).fontFamily}`;
    this.axes(c, colours);
    for (const [name, colour] of [["alpha", colours.own], ["sigma", colours.noise]]) {
      const cubics = pieces(this.curves[name]);
      c.setLineDash([4, 4]);
      this.line(c, (t) => (name === "alpha" ? t : 1 - t), colours.grid, 1.2);
      c.setLineDash([]);
      this.line(c, (t) => valueAt(cubics, t), colour, 2.5);
      this.curves[name].forEach((value, i) => this.point(c, name, i, value, colour, paper, colours));
      this.root.querySelector(`.fh-${name}`).style.color = colour;
    }
    this.words();
  }

  axes(c, colours) {
    c.strokeStyle = colours.grid;
    c.fillStyle = colours.muted;
    c.lineWidth = 1;
    c.beginPath();
    for (let i = 0; i <= 5; i++) {
      const x = Math.round(this.X(i / 5)) + 0.5, y = Math.round(this.Y(i / 5)) + 0.5;
      c.moveTo(x, this.Y(0));
      c.lineTo(x, this.Y(1));
      c.moveTo(this.X(0), y);
      c.lineTo(this.X(1), y);
      c.textAlign = "center";
      c.fillText((i / 5).toFixed(1), this.X(i / 5), this.Y(0) + 16);
      c.textAlign = "right";
      c.fillText((i / 5).toFixed(1), this.X(0) - 6, this.Y(i / 5) + 4);
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

  point(c, name, i, value, colour, paper, colours) {
    const inner = i > 0 && i < 5;
    const picked = this.picked && this.picked[0] === name && this.picked[1] === i;
    c.beginPath();
    c.arc(this.X(i / 5), this.Y(value), picked ? 9 : inner ? 7 : 3.5, 0, 2 * Math.PI);
    c.fillStyle = colour;
    c.fill();
    if (!inner) return;
    c.lineWidth = 2;
    c.strokeStyle = picked ? colours.ink : paper;
    c.stroke();
  }

  words() {
    const [name, i] = this.picked || [];
    this.read.textContent = name
      ? `${name === "alpha" ? "α" : "σ"} at t = ${(i / 5).toFixed(1)}: ${this.curves[name][i].toFixed(2)}`
      : "Drag the points. Dashed: conditional OT.";
    this.root.dataset.alpha = this.curves.alpha.slice(1, 5).join(",");
    this.root.dataset.sigma = this.curves.sigma.slice(1, 5).join(",");
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".fh");
  if (!root || !data) return;
  let shaper = mounts.get(root);
  if (!shaper) mounts.set(root, (shaper = new Shaper(root)));
  shaper.show(data, (name, value) => setTriggerValue(name, value));
  return () => shaper.leave(); // the curves stay, for new data on the same node
}
