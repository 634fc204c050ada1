// The drawing pad. Two modes: "strokes", from which points are taken on Apply, and "means", the
// centres of Gaussians, which Python hears of when one was placed, moved or removed.
// Mouse, pen and touch draw; the arrow keys move a cursor that draws and places as well.

const STEP = 0.25; // of the keyboard's cursor, in units of the frame
const SPACING = 0.03; // between points along a stroke, at least
const DOT = { points: 12, radius: 0.08 }; // what a click without a move leaves
const REACH = 12; // px within which a mean is taken hold of

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
const rounded = (x) => Math.round(x * 1000) / 1000;

export function strokeLength(stroke) {
  let total = 0;
  for (let i = 1; i < stroke.length; i++) total += distance(stroke[i - 1], stroke[i]);
  return total;
}

// Points evenly along all strokes, at most `most`; a stroke without length leaves a small ring.
export function sample(strokes, most) {
  const dots = strokes.filter((s) => strokeLength(s) < SPACING);
  const lines = strokes.filter((s) => strokeLength(s) >= SPACING);
  const total = lines.reduce((sum, s) => sum + strokeLength(s), 0);
  const spacing = Math.max(SPACING, total / Math.max(1, most - dots.length * DOT.points));
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
  return points.slice(0, most).map(([x, y]) => [rounded(x), rounded(y)]);
}

class Pad extends Held {
  constructor(root) {
    super(root);
    this.count = this.find(".fp-count");
    this.buttons = Object.fromEntries(
      [...root.querySelectorAll("button")].map((button) => [button.dataset.act, button]),
    );
    this.strokes = [];
    this.means = [];
    this.past = []; // earlier states, for undo
    this.stroke = null; // being drawn
    this.held = -1; // the mean being dragged
    this.cursor = null; // the keyboard's place, once the arrow keys were used
    this.pen = false; // whether the keyboard's pen is down
    this.canvas.addEventListener("dblclick", (event) => this.remove(this.at(event)));
    for (const act of ["undo", "clear", "apply"])
      this.buttons[act].addEventListener("click", () => this[act]());
  }

  grasp(event) {
    this.cursor = null;
    this.down(this.at(event));
    return true;
  }

  drag(event) {
    if (!this.canvas.hasPointerCapture(event.pointerId)) return;
    const steps = event.getCoalescedEvents?.() || [];
    for (const step of steps.length ? steps : [event]) this.move(this.at(step));
  }

  blur() {
    if (this.pen) this.drop();
    this.cursor = null;
  }

  show(data, { setTriggerValue }) {
    this.sizes.observe(this.canvas);
    this.send = setTriggerValue;
    this.data = data;
    if (data.mode === "means" && this.held < 0) this.means = data.means.map((m) => [...m]);
    const strokes = data.mode === "strokes";
    this.buttons.apply.hidden = !strokes;
    this.canvas.setAttribute(
      "aria-label",
      strokes
        ? "Pad for drawing data. Drag to draw. With the keyboard: arrows move, Space lowers or lifts the pen, Enter applies."
        : "Pad for placing Gaussians. Click adds, drag moves, double click removes. With the keyboard: arrows move, Space adds or picks up, Delete removes.",
    );
    this.redraw();
  }

  // Frame coordinates of a pointer, kept inside the frame.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const unit = (2 * this.data.frame) / box.width;
    return this.inside([
      (event.clientX - box.left) * unit - this.data.frame,
      this.data.frame - (event.clientY - box.top) * unit,
    ]);
  }

  inside([x, y]) {
    const limit = this.data.frame;
    return [rounded(clamp(x, -limit, limit)), rounded(clamp(y, -limit, limit))];
  }

  nearest(place) {
    const reach = (REACH / this.canvas.clientWidth) * 2 * this.data.frame;
    let best = -1;
    this.means.forEach((mean, i) => {
      const d = distance(mean, place);
      if (d <= reach && (best < 0 || d < distance(this.means[best], place))) best = i;
    });
    return best;
  }

  remember() {
    this.past.push(JSON.stringify([this.strokes, this.means]));
    if (this.past.length > 100) this.past.shift();
  }

  down(place) {
    if (this.data.mode === "strokes") {
      this.remember();
      this.stroke = [place];
      this.strokes.push(this.stroke);
    } else {
      this.held = this.nearest(place);
      if (this.held < 0 && this.means.length >= this.data.most) return;
      this.remember();
      if (this.held < 0) this.held = this.means.push(place) - 1;
    }
    this.redraw();
  }

  move(place) {
    if (this.stroke && distance(this.stroke.at(-1), place) > 0.01) this.stroke.push(place);
    if (this.held >= 0) this.means[this.held] = place;
    this.redraw();
  }

  drop() {
    const moved = this.held >= 0;
    this.pen = false;
    this.stroke = null;
    this.held = -1;
    if (moved) this.tell();
    this.redraw();
  }

  remove(place) {
    if (this.data.mode !== "means") return;
    const i = this.nearest(place);
    if (i < 0 || this.means.length < 2) return; // a mixture has at least one mean
    this.remember();
    this.means.splice(i, 1);
    this.tell();
    this.redraw();
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (move) {
      const step = event.shiftKey ? STEP / 5 : STEP;
      const [x, y] = this.cursor || [0, 0];
      this.cursor = this.cursor ? this.inside([x + move[0] * step, y + move[1] * step]) : [0, 0];
      if (this.pen) this.move(this.cursor);
    } else if (event.key === " ") {
      if (this.pen) this.drop();
      else {
        this.cursor ||= [0, 0];
        this.down(this.cursor);
        this.pen = !!this.stroke || this.held >= 0;
      }
    } else if (event.key === "Enter") {
      if (this.pen) this.drop();
      this.apply();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      if (this.cursor) this.remove(this.cursor);
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else return false;
    return true;
  }

  undo() {
    if (!this.past.length) return;
    [this.strokes, this.means] = JSON.parse(this.past.pop());
    if (this.data.mode === "means") this.tell();
    this.redraw();
  }

  clear() {
    this.remember();
    this.strokes = [];
    if (this.data.mode === "means") {
      this.means = [[0, 0]];
      this.tell();
    }
    this.redraw();
  }

  tell() {
    this.send("means", this.means);
  }

  apply() {
    if (this.data.mode !== "strokes" || this.buttons.apply.disabled) return;
    this.send("drawing", sample(this.strokes, this.data.most));
  }

  draw() {
    const { data } = this;
    const [c, size] = sized(this.canvas);
    const [paper, theme] = paperOf(this.root);
    const colours = data.theme[theme];
    c.fillStyle = paper;
    c.fillRect(0, 0, size, size);
    const scale = size / (2 * data.frame);
    const X = (x) => size / 2 + x * scale;
    const Y = (y) => size / 2 - y * scale;
    c.strokeStyle = colours.grid;
    c.lineWidth = 1;
    c.beginPath();
    for (let v = -Math.floor(data.frame) + 1; v < data.frame; v++) {
      c.moveTo(Math.round(X(v)) + 0.5, 0);
      c.lineTo(Math.round(X(v)) + 0.5, size);
      c.moveTo(0, Math.round(Y(v)) + 0.5);
      c.lineTo(size, Math.round(Y(v)) + 0.5);
    }
    c.stroke();
    c.fillStyle = c.strokeStyle = colours.data;
    if (data.mode === "strokes") this.drawStrokes(c, X, Y);
    else this.drawMeans(c, X, Y, scale, paper);
    if (this.cursor) {
      c.globalAlpha = 1;
      c.strokeStyle = colours.ink;
      c.lineWidth = this.pen ? 2.5 : 1.2;
      c.beginPath();
      c.moveTo(X(this.cursor[0]) - 8, Y(this.cursor[1]));
      c.lineTo(X(this.cursor[0]) + 8, Y(this.cursor[1]));
      c.moveTo(X(this.cursor[0]), Y(this.cursor[1]) - 8);
      c.lineTo(X(this.cursor[0]), Y(this.cursor[1]) + 8);
      c.stroke();
    }
    if (data.hint && !this.strokes.length && data.mode === "strokes" && !this.cursor) {
      c.fillStyle = colours.muted;
      c.font = `13px ${getComputedStyle(this.root).fontFamily}`;
      c.textAlign = "center";
      c.fillText(data.hint, size / 2, size - 12);
    }
    this.words();
  }

  drawStrokes(c, X, Y) {
    c.globalAlpha = 0.35;
    for (const [x, y] of this.data.points) c.fillRect(X(x) - 1, Y(y) - 1, 2, 2);
    c.globalAlpha = 1;
    c.lineWidth = 4;
    c.lineCap = c.lineJoin = "round";
    for (const stroke of this.strokes) {
      c.beginPath();
      c.moveTo(X(stroke[0][0]), Y(stroke[0][1]));
      for (const [x, y] of stroke) c.lineTo(X(x), Y(y));
      if (stroke.length === 1) c.lineTo(X(stroke[0][0]) + 0.01, Y(stroke[0][1]));
      c.stroke();
    }
  }

  drawMeans(c, X, Y, scale, paper) {
    this.means.forEach(([x, y], i) => {
      for (const [times, alpha] of [[2, 0.14], [1, 0.22]]) {
        c.globalAlpha = alpha;
        c.beginPath();
        c.arc(X(x), Y(y), Math.max(2, times * this.data.std * scale), 0, 2 * Math.PI);
        c.fill();
      }
      c.globalAlpha = 1;
      c.lineWidth = 2;
      const edge = c.strokeStyle;
      c.strokeStyle = paper;
      c.beginPath();
      c.arc(X(x), Y(y), i === this.held ? 7 : 5, 0, 2 * Math.PI);
      c.fill();
      c.stroke();
      c.strokeStyle = edge;
    });
  }

  words() {
    const strokes = this.data.mode === "strokes";
    const n = strokes ? sample(this.strokes, this.data.most).length : this.means.length;
    this.count.textContent = strokes
      ? n
        ? `${n} point${n === 1 ? "" : "s"}`
        : ""
      : `${n} of at most ${this.data.most}`;
    this.count.title = strokes && n < this.data.least ? `At least ${this.data.least} are needed.` : "";
    this.buttons.undo.disabled = !this.past.length;
    this.buttons.clear.disabled = strokes ? !this.strokes.length : this.means.length < 2;
    this.buttons.apply.disabled = n < this.data.least || !!this.stroke;
    this.root.dataset.count = n;
  }
}

// The strokes stay, for new data on the same node.
export default mounting(".fp", Pad);
