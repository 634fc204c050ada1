// The visitor's own schedule: alpha rises and sigma falls through points that are dragged up and
// down. The curves are drawn while a point moves; Python hears of the values when it is let go.

const STEP = 0.05; // of the arrow keys; with Shift the least step
const REACH = 18; // px within which a point is taken hold of
const PAD = { left: 34, right: 12, top: 12, bottom: 40 };

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
  return rounded(clamp(wanted, low + least, high - least));
}

class Shaper extends Held {
  constructor(root) {
    super(root);
    this.read = this.find(".fh-read");
    this.bar = this.find(".fh-bar");
    this.curves = { alpha: [0, 0.2, 0.4, 0.6, 0.8, 1], sigma: [1, 0.8, 0.6, 0.4, 0.2, 0] };
    this.held = null; // [curve, knot] being dragged
    this.picked = null; // [curve, knot] of the keyboard or under the pointer
  }

  grasp(event) {
    this.held = this.picked = this.nearest(event);
    return this.held;
  }

  drag(event) {
    if (this.held) this.move(this.held, this.place(event)[1]);
    else this.picked = this.nearest(event);
    this.canvas.classList.toggle("near", !!this.picked);
    this.redraw();
  }

  drop() {
    if (this.held) this.tell();
    this.held = null;
  }

  blur() {
    this.picked = null;
  }

  show(data, { setTriggerValue }) {
    this.sizes.observe(this.canvas);
    this.send = setTriggerValue;
    this.data = data;
    if (!this.held) this.set(data);
    this.bar.replaceChildren("Start from", ...data.presets.map((preset) => this.button(preset)));
    this.redraw();
  }

  set({ alpha, sigma }) {
    this.curves = { alpha: [0, ...alpha, 1], sigma: [1, ...sigma, 0] };
  }

  button(preset) {
    const button = element("button", "", preset.label);
    button.type = "button";
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
    } else return false;
    return true;
  }

  tell() {
    this.send("shape", { alpha: this.curves.alpha.slice(1, 5), sigma: this.curves.sigma.slice(1, 5) });
  }

  draw() {
    const [c, w, h] = sized(this.canvas);
    const [paper, theme] = paperOf(this.root);
    const colours = this.data.theme[theme];
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
      this.find(`.fh-${name}`).style.color = colour;
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

// The curves stay, for new data on the same node.
export default mounting(".fh", Shaper);
