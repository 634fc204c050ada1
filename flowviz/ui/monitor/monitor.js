// The training monitor: live samples beside live curves, and a scrub over the training when it ended.
// Python sends one payload a second (see __init__.py); between two of them the particles glide.

const GLIDE = 450; // ms from one live picture to the next
const REPLAY = 5000; // ms of a replay of the whole training
const MARGIN = { left: 46, right: 10, top: 8, bottom: 24 };

export function parse(bytes) {
  const raw = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  const length = new DataView(raw.buffer, raw.byteOffset, 4).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + length)));
  const body = raw.slice(4 + length).buffer; // a copy, so that the numbers are aligned
  const points = (at) => {
    const words = new Uint16Array(body, at.offset, at.length);
    const values = new Float32Array(words.length);
    const unit = (2 * head.limit) / 65535;
    for (let i = 0; i < words.length; i++) values[i] = words[i] * unit - head.limit;
    return values;
  };
  return {
    ...head,
    data: points(head.data),
    panels: head.panels.map((panel) => ({ ...panel, frames: panel.frames.map(points) })),
  };
}

// The frame before `step` and how far it is to the next one.
export function place(steps, step) {
  if (steps.length < 2 || step <= steps[0]) return [0, 0];
  let k = steps.length - 2;
  while (k > 0 && steps[k] > step) k--;
  return [k, Math.min(1, (step - steps[k]) / (steps[k + 1] - steps[k]))];
}

export function mixed(a, b, f, out) {
  for (let i = 0; i < out.length; i++) out[i] = a[i] + (b[i] - a[i]) * f;
  return out;
}

// Round values over [low, high]: decades, or 1-2-5 where there are few of them.
export function logTicks(low, high) {
  const ticks = [];
  const marks = Math.log10(high / low) > 2.2 ? [1] : [1, 2, 5];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of marks) {
      const value = m * 10 ** e;
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  return ticks;
}

export function niceStep(span, most) {
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
}

// The extent of positive values, out to the next of 1, 2, 5 x 10^e, so that axes seldom move.
export function logRange(values) {
  const good = values.filter((v) => v > 0 && Number.isFinite(v));
  if (!good.length) return [0.01, 1];
  const rungs = [1, 2, 5, 10];
  const snap = (v, up) => {
    const power = 10 ** Math.floor(Math.log10(v) + 1e-9);
    const lead = v / power;
    return power * (up ? rungs.find((r) => r >= lead - 1e-9) : rungs.findLast((r) => r <= lead + 1e-9));
  };
  const low = snap(Math.min(...good), false);
  const high = snap(Math.max(...good), true);
  return high > low ? [low, high] : [low / 2, high * 2];
}

// Where the axis of steps ends: the whole run, halved as long as what was done so far fits.
export function axisEnd(step, steps) {
  let end = steps;
  while (end / 2 >= Math.max(step, 20)) end /= 2;
  return end;
}

export const whole = (n) => Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ",");
export const short = (v) =>
  v === 0 ? "0" : Math.abs(v) >= 0.001 && Math.abs(v) < 10000 ? `${+v.toPrecision(3)}` : v.toExponential(1);

function cleared(canvas) {
  const [c, w, h] = sized(canvas);
  c.clearRect(0, 0, w, h);
  return [c, w, h];
}

class Monitor extends Drawn {
  constructor(root) {
    super(root);
    this.board = root.querySelector(".fm-board");
    this.panels = root.querySelector(".fm-panels");
    this.range = root.querySelector("input");
    this.play = root.querySelector(".fm-play");
    this.output = root.querySelector(".fm-step");
    this.charts = [...root.querySelectorAll(".fm-chart")].map((figure) => ({
      name: figure.dataset.chart,
      title: figure.querySelector(".fm-title"),
      canvas: figure.querySelector("canvas"),
      values: figure.querySelector(".fm-values"),
    }));
    this.segment = root.querySelector(".fm-segment");
    this.loss = "excess";
    this.hover = null;
    this.planes = [];
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.listen();
  }

  listen() {
    this.range.addEventListener("input", () => {
      this.stop();
      this.step = +this.range.value;
      this.redraw();
    });
    this.play.addEventListener("click", () => (this.replaying ? this.stop() : this.replay()));
    this.segment.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || button.disabled) return;
      this.loss = button.dataset.loss;
      this.redraw();
    });
    for (const chart of this.charts) {
      chart.canvas.addEventListener("pointermove", (event) => {
        const box = chart.canvas.getBoundingClientRect();
        const inner = box.width - MARGIN.left - MARGIN.right;
        const x = (event.clientX - box.left - MARGIN.left) / inner;
        this.hover = x >= 0 && x <= 1 ? x * axisEnd(this.data.step, this.data.steps) : null;
        this.redraw();
      });
      chart.canvas.addEventListener("pointerleave", () => {
        this.hover = null;
        this.redraw();
      });
    }
  }

  leave() {
    this.stop();
    super.leave();
  }

  show(bytes) {
    this.sizes.observe(this.root);
    const before = this.data;
    const model = (this.data = parse(bytes));
    const ended = model.state === "ended" && model.frame_steps.length > 1;
    if (this.planes.length !== model.panels.length) this.build();
    this.board.dataset.panels = model.panels.length;
    this.root.style.setProperty("--reserve", `${model.reserve}px`);
    if (!ended || !before || before.run !== model.run || before.step !== model.step) {
      this.stop();
      this.step = model.step;
    }
    this.range.disabled = this.play.disabled = !ended;
    this.range.max = ended ? model.frame_steps.at(-1) : model.steps;
    const newest = model.panels.map((panel) => panel.frames.at(-1));
    const glides =
      before && before.run === model.run && !ended && !this.still.matches && !document.hidden;
    this.from = glides ? this.planes.map((plane) => plane.points) : null;
    this.to = newest;
    this.began = performance.now();
    this.redraw();
    this.root.dataset.state = model.state;
    this.root.dataset.step = model.step;
    this.root.dataset.payloads = +(this.root.dataset.payloads || 0) + 1;
  }

  build() {
    this.planes = this.data.panels.map(() => {
      const figure = element("figure");
      const caption = element("figcaption");
      const plane = { name: element("span"), note: element("span", "fm-note"), figure, points: null };
      caption.append(plane.name, plane.note);
      const box = element("div", "fm-plane");
      plane.canvas = element("canvas");
      plane.canvas.setAttribute("role", "img");
      plane.message = element("p");
      box.append(plane.canvas, plane.message);
      figure.append(caption, box);
      return plane;
    });
    this.panels.replaceChildren(...this.planes.map((plane) => plane.figure));
  }

  replay() {
    if (this.step >= this.data.frame_steps.at(-1)) this.step = 0;
    this.replaying = { from: this.step, at: performance.now() };
    this.pressed(true);
    this.redraw();
  }

  stop() {
    this.replaying = null;
    this.pressed(false);
  }

  pressed(on) {
    this.play.setAttribute("aria-pressed", on);
    this.play.setAttribute("aria-label", on ? "Pause" : "Replay the training");
  }

  draw(now) {
    const model = this.data;
    this.colours = model.theme[paperOf(this.root)[1]];
    const ended = !this.range.disabled;
    let moving = false;
    if (this.replaying) {
      const last = model.frame_steps.at(-1);
      this.step = Math.min(last, this.replaying.from + ((now - this.replaying.at) / REPLAY) * last);
      if (this.step >= last) this.stop();
      moving = !!this.replaying;
    }
    const share = Math.min(1, (now - this.began) / GLIDE);
    if (this.from && share < 1 && !ended) moving = true;
    this.planes.forEach((plane, j) => {
      const frames = model.panels[j].frames;
      if (ended) {
        const [k, f] = place(model.frame_steps, this.step);
        const next = frames[Math.min(k + 1, frames.length - 1)];
        plane.points = mixed(frames[k], next, f, new Float32Array(frames[k].length));
      } else if (this.from?.[j] && this.from[j].length === this.to[j]?.length) {
        const eased = share * (2 - share);
        plane.points = mixed(this.from[j], this.to[j], eased, new Float32Array(this.to[j].length));
      } else plane.points = this.to[j] || null;
      this.plane(plane, model.panels[j]);
    });
    for (const chart of this.charts) this.chart(chart);
    this.range.value = ended ? this.step : model.step;
    this.output.textContent = model.step || ended
      ? `step ${whole(ended ? this.step : model.step)} of ${whole(model.steps)}`
      : `${whole(model.steps)} steps`;
    if (moving) this.redraw();
  }

  plane(plane, panel) {
    const { canvas } = plane;
    const [c, size] = cleared(canvas);
    const scale = size / (2 * this.data.frame);
    const { roles } = this.colours;
    const dots = (points, colour, alpha, side) => {
      c.fillStyle = colour;
      c.globalAlpha = alpha;
      for (let i = 0; i < points.length; i += 2)
        c.fillRect(size / 2 + points[i] * scale - side / 2, size / 2 - points[i + 1] * scale - side / 2, side, side);
      c.globalAlpha = 1;
    };
    const unit = Math.max(1, size / 300);
    dots(this.data.data, roles.data, plane.points ? 0.38 : 0.6, 1.5 * unit);
    if (plane.points) dots(plane.points, this.colour(panel.role), 0.8, 1.7 * unit);
    plane.figure.style.setProperty("--role", this.colour(panel.role));
    plane.name.textContent = panel.label;
    const line = this.data.charts.quality.lines.find((l) => l.role === panel.role && l.label === panel.label);
    const at = line && this.at(line, this.range.disabled ? Infinity : this.step);
    plane.note.textContent = at == null ? "" : `${this.data.metric} ${short(at)}`;
    plane.message.textContent = plane.points ? "" : this.data.message;
    canvas.setAttribute(
      "aria-label",
      `${panel.label}: ${plane.points ? "live samples over " : ""}points of the data. ${plane.note.textContent}`,
    );
  }

  chart(chart) {
    const model = this.data;
    const excess = model.charts.excess;
    const isLoss = chart.name === "loss";
    const shown = !isLoss ? model.charts.quality : this.loss === "excess" && excess ? excess : model.charts.loss;
    if (isLoss)
      for (const button of this.segment.children) {
        button.disabled = button.dataset.loss === "excess" && !excess;
        button.setAttribute("aria-pressed", button.dataset.loss === (shown === excess ? "excess" : "loss"));
      }
    if (chart.title.textContent !== shown.title) chart.title.textContent = chart.title.title = shown.title;
    const [c, w, h] = cleared(chart.canvas);
    const { ink, muted, grid } = this.colours;
    const inner = [MARGIN.left, MARGIN.top, w - MARGIN.left - MARGIN.right, h - MARGIN.top - MARGIN.bottom];
    const all = shown.lines.flatMap((l) => [...l.y, ...(l.floor ? [l.floor] : [])]);
    const [low, high] = logRange(shown.floor ? [...all, shown.floor] : all);
    const end = axisEnd(model.step, model.steps);
    const X = (x) => inner[0] + (x / end) * inner[2];
    const Y = (y) => inner[1] + inner[3] * (1 - Math.log(y / low) / Math.log(high / low));
    c.font = `12px ${getComputedStyle(this.root).fontFamily}`;
    c.strokeStyle = grid;
    c.fillStyle = muted;
    c.lineWidth = 1;
    c.textAlign = "right";
    c.textBaseline = "middle";
    let ticks = logTicks(low, high);
    if (ticks.length > inner[3] / 20) ticks = ticks.filter((v) => Math.abs(Math.log10(v) % 1) < 1e-6 || v === low || v === high);
    for (const value of ticks) {
      const y = Math.round(Y(value)) + 0.5;
      c.beginPath();
      c.moveTo(inner[0], y);
      c.lineTo(inner[0] + inner[2], y);
      c.stroke();
      c.fillText(short(value), inner[0] - 6, y);
    }
    c.textBaseline = "alphabetic";
    const step = niceStep(end, Math.max(2, inner[2] / 80));
    for (let x = 0; x <= end * 1.0001; x += step) {
      c.textAlign = x === 0 ? "left" : X(x) > w - 30 ? "right" : "center";
      c.fillText(x === 0 ? "step 0" : whole(x), x === 0 ? inner[0] : Math.min(X(x), w - 2), h - 6);
    }
    c.save();
    c.beginPath();
    c.rect(inner[0], inner[1] - 2, inner[2] + 2, inner[3] + 4);
    c.clip();
    const level = (value, colour) => {
      c.strokeStyle = colour;
      c.lineWidth = 1.5;
      c.setLineDash([2, 4]);
      c.beginPath();
      c.moveTo(inner[0], Y(value));
      c.lineTo(inner[0] + inner[2], Y(value));
      c.stroke();
      c.setLineDash([]);
    };
    if (shown.floor) level(shown.floor, this.colours.roles.data);
    for (const line of shown.lines) {
      const colour = this.colour(line.role);
      if (line.floor) level(line.floor, colour);
      c.strokeStyle = c.fillStyle = colour;
      c.lineWidth = 2;
      c.lineJoin = "round";
      c.beginPath();
      line.y.forEach((y, i) => y > 0 && c.lineTo(X(line.x[i]), Y(y)));
      c.stroke();
      if (line.y.length === 1) c.fillRect(X(line.x[0]) - 2, Y(line.y[0]) - 2, 4, 4);
    }
    const cursor = this.hover ?? (this.range.disabled ? null : this.step);
    if (cursor != null) {
      c.strokeStyle = ink;
      c.globalAlpha = 0.5;
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(X(cursor), inner[1]);
      c.lineTo(X(cursor), inner[1] + inner[3]);
      c.stroke();
      c.globalAlpha = 1;
    }
    c.restore();
    this.values(chart, shown, cursor);
  }

  values(chart, shown, cursor) {
    const parts = shown.lines.map((line) => {
      const value = this.at(line, cursor ?? Infinity);
      return [this.colour(line.role), line.label, value == null ? "–" : short(value), ""];
    });
    if (shown.floor) parts.push([this.colours.roles.data, shown.floor_label, short(shown.floor), "fm-dotted"]);
    const text = parts.map((part) => part.join("|")).join("||");
    if (chart.text === text) return;
    chart.text = text;
    chart.values.replaceChildren(
      ...parts.map(([colour, label, value, dotted]) => {
        const span = element("span");
        const key = element("i", dotted);
        key.style.setProperty("--role", colour);
        span.append(key, label, element("b", "", value));
        return span;
      }),
    );
    chart.canvas.setAttribute("aria-label", `${shown.title}. ${parts.map((p) => `${p[1]} ${p[2]}`).join(", ")}`);
  }

  at(line, step) {
    if (!line.x.length) return null;
    let i = line.x.length - 1;
    while (i > 0 && line.x[i] > step) i--;
    return line.y[i];
  }

  colour(role) {
    return this.colours.roles[role] || this.colours.ink;
  }
}

// What it knows stays, for the next payload on the same node.
export default mounting(".fm", Monitor);
