/* One path, all paths: the conditional paths through a point, and the marginal velocity they make.
 *
 * Everything is computed here while the visitor drags, in float64 and from the same formulas as
 * flowviz/fields/posterior.py, against which it is tested. The coefficients of the path come as a
 * table whose rows are the positions of the slider, so that nothing is interpolated and every
 * schedule will do. The server hears of t and x when they are let go.
 */

/** Paths and arrows that are drawn at most. */
export const DRAWN = 160, ARROWS = 60;
/** Seconds from noise to data. */
const SWEEP = 7;
/** Length in the plane of the arrow of a conditional velocity of typical size. */
const REACH = 2.4;
const CELLS = 72; // of the density's picture, along each side
const EDGE = { left: 30, right: 2, top: 2, bottom: 22 };
export const LAYERS = ["paths", "arrows", "density"];
const NAMES = { paths: "Paths", arrows: "Arrows", density: "Density" };
const LOG_2PI = Math.log(2 * Math.PI);
const ROOT_2PI = Math.sqrt(2 * Math.PI);

// ------------------------------------------------------------------------------------------ maths

/* Chebyshev coefficients of erfcx(y) / s in 2 s - 1, s = 1 / (1 + y / 2), relative error 3e-14. */
const ERFCX = [
  0.5770337386164696, 0.35543692127049886, 0.06509515882878616, 0.003671142395836997, -0.0011128447433529864,
  -0.00016075829915343197, 3.278031574138873e-5, 5.442441645840391e-6, -1.515466555644207e-6, -1.4297608149398564e-7,
  8.234608796682737e-8, -1.296284389175625e-9, -4.154721914826196e-9, 6.34706098510271e-10, 1.43207970437221e-10,
  -6.160365916298027e-11, 2.0609875237536834e-12, 3.5717032111004076e-12, -8.58835416184989e-13, -6.128040835903701e-14,
  7.402975442603537e-14, -1.2756126297459189e-14, -2.4786196374472498e-15, 1.6734329826133764e-15,
  -3.0863010647193007e-16,
];

/** exp(y^2) erfc(y) for y >= 0. */
export function erfcx(y) {
  const s = 1 / (1 + y / 2), x = 2 * (2 * s - 1);
  let a = 0, b = 0;
  for (let k = ERFCX.length - 1; k > 0; k--) { const c = x * a - b + ERFCX[k]; b = a; a = c; }
  return s * ((x * a) / 2 - b + ERFCX[0]);
}

/** A standard normal z on [lo, hi]: {logRatio: log of its probability over the width, mean, place}
 *  with place = (mean - middle) / width; as `truncated` in flowviz/fields/exact.py. */
export function truncated(lo, hi) {
  const h = hi - lo, c = (lo + hi) / 2, tilt = h * Math.abs(c);
  if (Math.max(h, tilt) < 0.03) {
    const c2 = c * c, h2 = h * h;
    const place = ((-c * h) / 12) * (1 - h2 / 30 - (c2 * h2) / 60);
    const curve = Math.log1p((h2 * (c2 - 1)) / 24 + (h2 * h2 * (c2 * (c2 - 6) + 3)) / 1920);
    return { logRatio: curve - (c2 + LOG_2PI) / 2, mean: c + h * place, place };
  }
  const mills = (v) => (ROOT_2PI / 2) * erfcx(v / Math.SQRT2), phi = (v) => Math.exp((-v * v) / 2) / ROOT_2PI;
  let logP, mean;
  if (lo < 0 && hi > 0) {
    const P = 1 - phi(lo) * mills(-lo) - phi(hi) * mills(hi);
    logP = Math.log(P);
    mean = (phi(lo) - phi(hi)) / P;
  } else {
    const near = Math.min(Math.abs(lo), Math.abs(hi)), far = Math.max(Math.abs(lo), Math.abs(hi));
    const q = mills(near) - Math.exp(-tilt) * mills(far);
    logP = Math.log(q) - (near * near + LOG_2PI) / 2;
    mean = (-Math.sign(c) * Math.expm1(-tilt)) / q;
  }
  return { logRatio: logP - Math.log(h), mean, place: (mean - c) / h };
}

/** A posterior over n parts with room for its numbers. */
const room = (n) => ({ n, w: new Float64Array(n), data: new Float64Array(2 * n), noise: new Float64Array(2 * n) });

/** Log weights in p.w to weights that sum to 1; the log of their sum. */
function normalised(p) {
  let top = -Infinity, sum = 0;
  for (let i = 0; i < p.n; i++) if (p.w[i] > top) top = p.w[i];
  for (let i = 0; i < p.n; i++) sum += p.w[i] = Math.exp(p.w[i] - top);
  for (let i = 0; i < p.n; i++) p.w[i] /= sum;
  return top + Math.log(sum);
}

/** The posterior over equally likely points (x, y, x, y, ...) given x_t = (x, y). */
export function overPoints(points, c, x, y, p = room(points.length / 2)) {
  for (let i = 0; i < p.n; i++) {
    const u = (x - c.alpha * points[2 * i]) / c.sigma, v = (y - c.alpha * points[2 * i + 1]) / c.sigma;
    p.w[i] = -(u * u + v * v) / 2;
    p.data[2 * i] = points[2 * i]; p.data[2 * i + 1] = points[2 * i + 1];
    p.noise[2 * i] = u; p.noise[2 * i + 1] = v;
  }
  p.logDensity = normalised(p) - Math.log(p.n) - LOG_2PI - 2 * Math.log(c.sigma);
  return p;
}

/** The posterior over the parts of a distribution, as `part_posterior`: Gaussians or boxes. */
export const overParts = (d, c, x, y, p = room(d.weights.length)) =>
  (d.kind === "boxes" ? overBoxes : overGaussians)(d, c, x, y, p);

function overGaussians(d, c, x, y, p) {
  for (let k = 0; k < p.n; k++) {
    const ox = x - c.alpha * d.means[2 * k], oy = y - c.alpha * d.means[2 * k + 1];
    let logit = Math.log(d.weights[k]), mx = d.means[2 * k], my = d.means[2 * k + 1], ex = 0, ey = 0;
    for (let e = 0; e < 2; e++) {
      const ax = d.axes[4 * k + e], ay = d.axes[4 * k + 2 + e], v = d.variances[2 * k + e]; // eigenvectors are columns
      const along = ox * ax + oy * ay, spread = c.alpha * c.alpha * v + c.sigma * c.sigma;
      logit -= ((along * along) / spread + Math.log(spread)) / 2;
      const m = ((c.alpha * v) / spread) * along, n = (c.sigma * along) / spread;
      mx += m * ax; my += m * ay; ex += n * ax; ey += n * ay;
    }
    p.w[k] = logit;
    p.data[2 * k] = mx; p.data[2 * k + 1] = my;
    p.noise[2 * k] = ex; p.noise[2 * k + 1] = ey;
  }
  p.logDensity = normalised(p) - LOG_2PI;
  return p;
}

/** The moments along one axis in each of its intervals. */
function intervals(edges, c, x) {
  const out = [];
  for (let i = 0; i + 1 < edges.length; i++) {
    const z = truncated((c.alpha * edges[i] - x) / c.sigma, (c.alpha * edges[i + 1] - x) / c.sigma);
    const width = edges[i + 1] - edges[i];
    out.push({ log: z.logRatio, data: (edges[i] + edges[i + 1]) / 2 + width * z.place, noise: -z.mean });
  }
  return out;
}

function overBoxes(d, c, x, y, p) {
  const alongX = intervals(d.edges_x, c, x), alongY = intervals(d.edges_y, c, y);
  for (let k = 0; k < p.n; k++) {
    const a = alongX[d.cells[2 * k]], b = alongY[d.cells[2 * k + 1]];
    p.w[k] = Math.log(d.weights[k]) + a.log + b.log;
    p.data[2 * k] = a.data; p.data[2 * k + 1] = b.data;
    p.noise[2 * k] = a.noise; p.noise[2 * k + 1] = b.noise;
  }
  p.logDensity = normalised(p) - 2 * Math.log(c.sigma);
  return p;
}

/** What a posterior says: the mean velocity (u, v), data mean, effective number, spread, heaviest. */
export function summary(p, c) {
  let mx = 0, my = 0, ex = 0, ey = 0, squares = 0, best = 0;
  for (let i = 0; i < p.n; i++) {
    const w = p.w[i];
    mx += w * p.data[2 * i]; my += w * p.data[2 * i + 1];
    ex += w * p.noise[2 * i]; ey += w * p.noise[2 * i + 1];
    squares += w * w;
    if (w > p.w[best]) best = i;
  }
  const u = c.d_alpha * mx + c.d_sigma * ex, v = c.d_alpha * my + c.d_sigma * ey;
  let spread = 0;
  for (let i = 0; i < p.n; i++) {
    const du = c.d_alpha * p.data[2 * i] + c.d_sigma * p.noise[2 * i] - u;
    const dv = c.d_alpha * p.data[2 * i + 1] + c.d_sigma * p.noise[2 * i + 1] - v;
    spread += p.w[i] * (du * du + dv * dv);
  }
  return { u, v, speed: Math.hypot(u, v), mx, my, effective: 1 / squares, spread: Math.sqrt(spread), best };
}

/** Fixed numbers in (0, 1], one a part: they make the drawn ones stay while x moves. */
export function ranks(n) {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) out[i] = ((i + 1) * 0.6180339887498949) % 1 || 1;
  return out;
}

/** Which parts to draw: those of largest weight over rank (priority sampling: Duffield, Lund, Thorup
 *  2007), so that each comes with a chance that grows with its weight, and stands for max(weight,
 *  threshold). Returns [{i, w}], lightest first, w of all together about 1. */
export function chosen(weights, rank, most) {
  const kept = [];
  let light = 0, top = 0;
  for (const w of weights) if (w > top) top = w;
  for (let i = 0; i < weights.length; i++) if (weights[i] > 2e-3 * top) kept.push(i);
  if (kept.length > most) {
    kept.sort((a, b) => weights[b] / rank[b] - weights[a] / rank[a]);
    light = weights[kept[most]] / rank[kept[most]];
    kept.length = most;
  }
  return kept.map((i) => ({ i, w: Math.max(weights[i], light) })).sort((a, b) => a.w - b.w);
}

/** p_t on a grid of n x n cells over [-frame, frame]^2, row 0 on top, as a Float64Array. */
export function densityGrid(d, c, frame, n) {
  const out = new Float64Array(n * n), at = (i) => -frame + ((i + 0.5) * 2 * frame) / n;
  if (d.kind === "boxes") {
    const along = (edges) => Array.from({ length: n }, (_, i) => intervals(edges, c, at(i)).map((z) => Math.exp(z.log) / c.sigma));
    const px = along(d.edges_x), py = along(d.edges_y), rows = d.edges_x.length - 1;
    for (let j = 0; j < n; j++) {
      const over = new Float64Array(rows);
      for (let k = 0; k < d.weights.length; k++) over[d.cells[2 * k]] += d.weights[k] * py[n - 1 - j][d.cells[2 * k + 1]];
      for (let i = 0; i < n; i++) { let s = 0; for (let a = 0; a < rows; a++) s += px[i][a] * over[a]; out[j * n + i] = s; }
    }
    return out;
  }
  const bell = (z, s) => Math.exp((-z * z) / (2 * s)) / Math.sqrt(2 * Math.PI * s);
  for (let k = 0; k < d.weights.length; k++) {
    const [axx, bxx, ayx, byx] = d.axes.slice(4 * k, 4 * k + 4), aligned = bxx === 0 && ayx === 0;
    const s = [0, 1].map((e) => c.alpha * c.alpha * d.variances[2 * k + e] + c.sigma * c.sigma);
    const mx = c.alpha * d.means[2 * k], my = c.alpha * d.means[2 * k + 1];
    if (aligned) {
      const px = Array.from({ length: n }, (_, i) => bell(at(i) - mx, s[0]));
      for (let j = 0; j < n; j++) {
        const q = d.weights[k] * bell(at(n - 1 - j) - my, s[1]);
        if (q > 1e-12) for (let i = 0; i < n; i++) out[j * n + i] += q * px[i];
      }
    } else for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
      const ox = at(i) - mx, oy = at(n - 1 - j) - my;
      out[j * n + i] += d.weights[k] * bell(ox * axx + oy * ayx, s[0]) * bell(ox * bxx + oy * byx, s[1]);
    }
  }
  return out;
}

// ------------------------------------------------------------------------------------------ words

const degrees = (u, v) => `${Math.round((Math.atan2(v, u) * 180) / Math.PI).toString().replace("-", "−")}°`;
export const short = (v) => (v >= 1e5 ? v.toExponential(1) : v >= 99.5 ? v.toFixed(0) : v >= 9.95 ? v.toFixed(1) : v.toFixed(2));

/** What to notice at this t and x, in HTML of our own words and numbers.
 *  seen: {n, over, drawn (what is summed over), exact (the closed form)}; words: of parts. */
export function notice({ n, over, drawn, exact, words, heaviest }) {
  const part = over === "parts" ? words.part : "point", parts = over === "parts" ? words.parts : "points";
  const share = drawn.effective / n, gap = Math.hypot(drawn.u - exact.u, drawn.v - exact.v) / Math.max(exact.speed, drawn.speed, 1e-12);
  const percent = (v) => `${v < 0.0995 ? (100 * v).toFixed(1) : Math.round(100 * v)} %`;
  const out = [];
  if (n > 1 && share > 0.5) {
    out.push(`<b>Everybody pulls.</b> ${Math.round(drawn.effective).toLocaleString("en")} of ${n.toLocaleString("en")} ${parts} have a say: ` +
      `x tells little of where it will end, so that all u knows of the data is the middle of them (◆). One conditional arrow is off by ${short(drawn.spread)} in the root mean square.`);
  } else if (n > 1 && drawn.effective < 1.5) {
    out.push(`<b>One ${part} has won</b> with ${percent(heaviest)} of the weight: u is its conditional velocity but for ${short(drawn.spread)}.`);
  } else {
    out.push(`<b>${drawn.effective < 9.95 ? drawn.effective.toFixed(1) : Math.round(drawn.effective)} ${parts}</b> of ${n.toLocaleString("en")} share the say. ` +
      `Their arrows differ from u by ${short(drawn.spread)} in the root mean square, yet a network that regresses on single arrows learns their mean.`);
  }
  if (over === "parts") out.push("The mean over the parts is the closed form: both arrows are one.");
  else if (gap < 0.02) out.push(`The drawn points give the distribution's closed form to ${percent(gap)}.`);
  else if (drawn.effective < 3) out.push(`The distribution's closed form differs by ${percent(gap)}: the exact field of a finite set heads for its own points. It memorises; the closed form does not.`);
  else out.push(`The distribution's closed form differs by ${percent(gap)}: the error of an average over so few points.`);
  return out.join(" ");
}

// ---------------------------------------------------------------------------------------- element

/** What was last seen, by the component's key, for a page that is left and opened again. */
const memory = (globalThis[Symbol.for("flowviz.why")] ??= new Map());

class Touch extends Drawn {
  constructor(root) {
    super(root);
    this.canvas = this.find(".fw-plot canvas");
    this.range = this.find("input");
    this.drawn = 0;
    this.trail = new Map(); // where x was at the rows of the table on this ride
    this.bind();
  }

  show(data, { setStateValue }) {
    this.tell = (seen) => setStateValue("view", seen);
    const first = !this.data;
    this.data = data;
    this.points = Float64Array.from(data.points);
    const parts = data.distribution.weights.length;
    this.rank = { points: ranks(this.points.length / 2), parts: ranks(parts) };
    this.room = { points: room(this.points.length / 2), parts: room(parts) };
    if (first) {
      const known = memory.get(data.key), { t, x, y, layers } = known?.initial === JSON.stringify(data.initial) ? known.seen : data.initial;
      Object.assign(this, { x, y, ride: false, playing: false });
      this.layers = new Set(layers);
      this.k = this.nearest(t);
      this.told = JSON.stringify(this.seen);
      this.build();
    }
    this.k = clamp(this.k, 0, data.times.length - 1);
    this.range.max = data.times.length - 1;
    this.root.style.setProperty("--reserve", `${data.reserve}px`);
    this.picture = null;
    this.rows = rowsOf(data.alpha, data.sigma);
    this.trail.clear();
    this.legend();
    this.sizes.observe(this.canvas);
    this.redraw();
  }

  nearest(t) {
    let best = 0;
    this.data.times.forEach((s, i) => { if (Math.abs(s - t) < Math.abs(this.data.times[best] - t)) best = i; });
    return best;
  }

  get t() { return this.data.times[this.k]; }
  get seen() { return { t: this.t, x: this.x, y: this.y, layers: LAYERS.filter((name) => this.layers.has(name)) }; }

  coefficients(k = this.k) {
    const { alpha, sigma, d_alpha, d_sigma } = this.data;
    return { alpha: alpha[k], sigma: sigma[k], d_alpha: d_alpha[k], d_sigma: d_sigma[k] };
  }

  // ---- controls

  build() {
    const box = this.find(".fw-layers");
    for (const name of LAYERS) {
      const button = element("button", "", NAMES[name]);
      button.type = "button";
      button.dataset.layer = name;
      box.append(button);
    }
  }

  bind() {
    const { root, canvas, range } = this;
    root.addEventListener("click", (e) => {
      const { act, layer } = e.target.closest("button")?.dataset ?? {};
      if (act) this[act]();
      else if (layer) { if (!this.layers.delete(layer)) this.layers.add(layer); this.report(300); this.redraw(); }
    });
    range.addEventListener("input", () => { this.stop(); this.move(+range.value); });
    range.addEventListener("change", () => this.report());
    const place = (e) => {
      const box = canvas.getBoundingClientRect(), side = box.width - EDGE.left - EDGE.right, { frame } = this.data;
      this.put(((e.clientX - box.left - EDGE.left) / side) * 2 * frame - frame, frame - ((e.clientY - box.top - EDGE.top) / side) * 2 * frame);
    };
    canvas.addEventListener("pointerdown", (e) => { if (!e.button) { canvas.setPointerCapture(e.pointerId); this.held = true; place(e); } });
    canvas.addEventListener("pointermove", (e) => this.held && place(e));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (this.held) { this.held = false; this.report(); } });
    root.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const onButton = e.target.tagName === "BUTTON", onPlane = e.target === canvas;
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
      if (move && onPlane) {
        const step = e.shiftKey ? 0.02 : 0.1;
        this.put(this.x + move[0] * step, this.y + move[1] * step);
        this.report(250);
      } else if (e.key === " " && !onButton) this.play();
      else if (e.key.toLowerCase() === "r") this.toggleRide();
      else return;
      e.preventDefault();
      e.stopPropagation(); // Streamlit has single-key shortcuts of its own
    });
  }

  themed() {
    this.legend();
    this.redraw();
  }

  put(x, y) {
    const { frame } = this.data;
    this.x = clamp(x, -frame, frame);
    this.y = clamp(y, -frame, frame);
    this.trail.clear();
    this.redraw();
  }

  /** To row k of the table; on a ride x goes along, by Heun's method between the rows, and back by
   *  the way it came, since a flow run backward from t = 1 is unstable. */
  move(k) {
    const aim = clamp(Math.round(k), 0, this.data.times.length - 1), far = 3 * this.data.frame;
    while (this.ride && this.k !== aim) {
      const next = this.k + Math.sign(aim - this.k), dt = this.data.times[next] - this.data.times[this.k];
      this.trail.set(this.k, [this.x, this.y]);
      if (!this.trail.has(next)) {
        const a = this.velocity(this.k, this.x, this.y);
        const b = this.velocity(next, this.x + dt * a.u, this.y + dt * a.v);
        const half = dt / 2;
        this.trail.set(next, [clamp(this.x + half * (a.u + b.u), -far, far), clamp(this.y + half * (a.v + b.v), -far, far)]);
      }
      [this.x, this.y] = this.trail.get(next);
      this.k = next;
    }
    this.k = aim;
    this.redraw();
  }

  velocity(k, x, y) {
    const c = this.coefficients(k);
    return summary(this.posterior(this.data.over, c, x, y), c);
  }

  posterior(over, c, x, y) {
    return over === "points" ? overPoints(this.points, c, x, y, this.room.points) : overParts(this.data.distribution, c, x, y, this.room.parts);
  }

  play() {
    if (this.playing) { this.stop(); this.report(); return; }
    if (this.k === this.data.times.length - 1) this.move(0);
    this.playing = true;
    this.last = undefined;
    this.clock = this.t;
    this.redraw();
  }

  stop() { this.playing = false; }
  toggleRide() { this.ride = !this.ride; this.trail.clear(); this.redraw(); }

  /** Tells the server what is seen, once things are quiet; never while they move. */
  report(wait = 0) {
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => {
      const seen = JSON.stringify(this.seen);
      if (this.playing || this.held || seen === this.told) return;
      this.told = seen;
      memory.set(this.data.key, { initial: JSON.stringify(this.data.initial), seen: this.seen });
      this.tell(this.seen);
    }, wait);
  }

  // ---- drawing

  draw(now) {
    if (this.playing) {
      const gap = this.last === undefined ? 0 : Math.min(250, now - this.last) / 1000, end = this.data.times.length - 1;
      this.last = now;
      this.clock = Math.min(1, this.clock + gap / SWEEP);
      this.move(this.nearest(this.clock));
      if (this.k === end) { this.playing = false; this.report(); }
    }
    this.render();
    if (this.playing) this.redraw();
  }

  render() {
    const began = performance.now(), c = this.coefficients(), [context, size] = sized(this.canvas);
    const view = this.compute(c);
    this.paint(context, size, c, view);
    this.write(view);
    this.range.value = this.k;
    const pressed = (node, on) => node.getAttribute("aria-pressed") !== String(on) && node.setAttribute("aria-pressed", String(on));
    pressed(this.find('[data-act="play"]'), this.playing);
    pressed(this.find('[data-act="toggleRide"]'), this.ride);
    for (const button of this.find(".fw-layers").children) pressed(button, this.layers.has(button.dataset.layer));
    this.drawn += 1;
    Object.assign(this.root.dataset, {
      drawn: this.drawn, t: this.t.toFixed(3), x: this.x.toFixed(3), y: this.y.toFixed(3),
      u: view.drawn.u, v: view.drawn.v, exactU: view.exact.u, exactV: view.exact.v, paint: (performance.now() - began).toFixed(1),
    });
  }

  /** The posterior over what is on show, and what the closed form says. */
  compute(c) {
    const { data } = this, exact = summary(this.posterior("parts", c, this.x, this.y), c);
    const post = data.over === "parts" ? this.room.parts : this.posterior("points", c, this.x, this.y);
    return { post, exact, drawn: data.over === "parts" ? exact : summary(post, c) };
  }

  get colours() {
    const [, name] = paperOf(this.root);
    this.root.dataset.theme = name;
    return { ...this.data.theme[name], dark: name === "dark" };
  }

  paint(g, size, c, { post, drawn, exact }) {
    const { data } = this, { frame } = data, look = this.colours, { left, top } = EDGE;
    const side = size - left - EDGE.right, scale = side / (2 * frame), dot = clamp(side / 520, 0.7, 1.6);
    const X = (x) => left + (x + frame) * scale, Y = (y) => top + (frame - y) * scale;
    g.globalAlpha = 1;
    g.fillStyle = look.paper;
    g.fillRect(0, 0, size, size);
    g.save();
    g.beginPath(); g.rect(left, top, side, side); g.clip();
    if (this.layers.has("density")) {
      g.imageSmoothingEnabled = true;
      g.drawImage(this.density(c, look), left, top, side, side);
    }
    if (data.over === "parts") this.paintParts(g, post, look, X, Y, scale);
    else this.paintPoints(g, post, look, X, Y, dot);
    const shown = chosen(post.w, this.rank[data.over], DRAWN), buckets = grouped(shown);
    if (this.layers.has("paths")) this.paintPaths(g, buckets, post, look, X, Y, dot);
    const k = REACH / data.speed[this.k];
    if (this.layers.has("arrows")) {
      g.strokeStyle = g.fillStyle = look.ink;
      for (const { alpha, items } of grouped(chosen(post.w, this.rank[data.over], ARROWS))) {
        g.globalAlpha = alpha;
        arrows(g, items.map(({ i }) => {
          const u = c.d_alpha * post.data[2 * i] + c.d_sigma * post.noise[2 * i];
          const v = c.d_alpha * post.data[2 * i + 1] + c.d_sigma * post.noise[2 * i + 1];
          return [X(this.x), Y(this.y), X(this.x + k * u), Y(this.y + k * v)];
        }), (0.8 + 1.2 * alpha) * dot, (6 + 4 * alpha) * dot);
      }
    }
    g.globalAlpha = 0.8;
    g.strokeStyle = look.ink; g.lineWidth = 2 * dot;
    g.beginPath();
    [...this.trail.keys()].sort((a, b) => a - b).forEach((s) => g.lineTo(X(this.trail.get(s)[0]), Y(this.trail.get(s)[1])));
    g.stroke();
    g.globalAlpha = 1;
    const mean = [X(this.x), Y(this.y), X(this.x + k * drawn.u), Y(this.y + k * drawn.v)];
    const truth = [mean[0], mean[1], X(this.x + k * exact.u), Y(this.y + k * exact.v)];
    for (const [colour, more] of [[look.paper, 3.5], [look.ink, 0]]) {
      g.strokeStyle = g.fillStyle = colour;
      arrows(g, [mean], 5 * dot + more, 17 * dot + more);
    }
    g.strokeStyle = g.fillStyle = look.exact;
    arrows(g, [truth], 2.2 * dot, 9 * dot);
    diamond(g, X(drawn.mx), Y(drawn.my), 5.5 * dot, look.data, look.paper);
    g.beginPath(); g.arc(mean[0], mean[1], 6 * dot, 0, 7);
    g.fillStyle = look.paper; g.strokeStyle = look.ink; g.lineWidth = 2.2 * dot;
    g.fill(); g.stroke();
    g.restore();
    this.axes(g, side, look);
  }

  /** The axes' ticks and names about the plane. */
  axes(g, side, look) {
    const { left, top } = EDGE, { frame } = this.data, unit = side / (2 * frame), font = getComputedStyle(this.root).fontFamily;
    g.globalAlpha = 1;
    g.strokeStyle = look.muted; g.fillStyle = look.ink; g.lineWidth = 1;
    g.font = `11.5px ${font}`;
    g.beginPath();
    for (let v = 2 * Math.ceil(-frame / 2); v <= frame; v += 2) {
      const x = Math.round(left + (v + frame) * unit) + 0.5, y = Math.round(top + (frame - v) * unit) + 0.5, text = String(v).replace("-", "−");
      g.moveTo(x, top + side); g.lineTo(x, top + side + 4);
      g.moveTo(left - 4, y); g.lineTo(left, y);
      g.textAlign = "center"; g.textBaseline = "top"; g.fillText(text, x, top + side + 6);
      g.textAlign = "right"; g.textBaseline = "middle"; g.fillText(text, left - 7, y);
    }
    g.stroke();
    g.strokeRect(left - 0.5, top - 0.5, side + 1, side + 1);
    g.font = `italic 13px ${font}`;
    g.textAlign = "right"; g.textBaseline = "top"; g.fillText("x₁", left + side, top + side + 5);
    g.fillText("x₂", left - 7, top);
  }

  /** The density as a small picture, made when t, data or theme change. */
  density(c, look) {
    const name = `${this.k} ${look.dark}`;
    if (this.picture?.name === name) return this.picture.canvas;
    const grid = densityGrid(this.data.distribution, c, this.data.frame, CELLS);
    const peak = Float64Array.from(grid).sort()[Math.floor(0.995 * grid.length)] || 1;
    const canvas = this.picture?.canvas ?? element("canvas"), stops = look.density.map(rgb), image = new ImageData(CELLS, CELLS);
    canvas.width = canvas.height = CELLS;
    for (let i = 0; i < grid.length; i++) {
      const v = Math.sqrt(Math.min(1, grid[i] / peak)) * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(v));
      for (let b = 0; b < 3; b++) image.data[4 * i + b] = stops[k][b] + (stops[k + 1][b] - stops[k][b]) * (v - k);
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    this.picture = { name, canvas };
    return canvas;
  }

  /** The drawn points, the greener and larger the more weight they have. */
  paintPoints(g, post, look, X, Y, dot) {
    let top = 0;
    for (const w of post.w) if (w > top) top = w;
    const levels = [[], [], [], [], []];
    for (let i = 0; i < post.n; i++) levels[Math.min(4, Math.ceil(4.99 * Math.sqrt(post.w[i] / top) - 0.5))].push(i);
    levels.forEach((items, level) => {
      g.fillStyle = level ? look.data : look.noise;
      g.globalAlpha = level ? 0.3 + 0.17 * level : 0.28;
      g.beginPath();
      for (const i of items) {
        const r = (1.5 + (level ? 5 * Math.sqrt(post.w[i]) : 0)) * dot, x = X(post.data[2 * i]), y = Y(post.data[2 * i + 1]);
        g.moveTo(x + r, y); g.arc(x, y, r, 0, 7);
      }
      g.fill();
    });
    g.globalAlpha = 1;
  }

  /** Boxes or Gaussians (at one and two standard deviations), shaded by weight. */
  paintParts(g, post, look, X, Y, scale) {
    const d = this.data.distribution;
    for (let k = 0; k < post.n; k++) {
      const shade = 0.85 * Math.sqrt(post.w[k]);
      g.fillStyle = look.data; g.strokeStyle = look.data; g.lineWidth = 1;
      if (d.kind === "boxes") {
        const [i, j] = [d.cells[2 * k], d.cells[2 * k + 1]], x = X(d.edges_x[i]), y = Y(d.edges_y[j + 1]);
        const w = X(d.edges_x[i + 1]) - x, h = Y(d.edges_y[j]) - y;
        g.globalAlpha = shade; g.fillRect(x, y, w, h);
        if (post.n < 60) { g.globalAlpha = 0.5; g.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1); }
        continue;
      }
      for (const times of [1, 2]) {
        g.beginPath();
        const [rx, ry] = [0, 1].map((e) => Math.max(2, times * Math.sqrt(d.variances[2 * k + e]) * scale));
        g.ellipse(X(d.means[2 * k]), Y(d.means[2 * k + 1]), rx, ry, -Math.atan2(d.axes[4 * k + 2], d.axes[4 * k]), 0, 7);
        g.globalAlpha = shade * (times === 1 ? 0.7 : 0.45); g.fill();
        if (post.n < 60) { g.globalAlpha = 0.3; g.stroke(); }
      }
    }
    g.globalAlpha = 1;
  }

  /** The conditional paths through (t, x), from their noise (grey) to their data. */
  paintPaths(g, buckets, post, look, X, Y, dot) {
    const { alpha, sigma } = this.data, rows = this.rows;
    for (const { alpha: opacity, items } of buckets) {
      g.globalAlpha = opacity * 0.8;
      g.strokeStyle = look.role;
      g.lineWidth = (0.7 + 1.3 * opacity) * dot;
      g.lineJoin = "round";
      g.beginPath();
      for (const { i } of items) rows.forEach((s, q) => {
        const x = X(alpha[s] * post.data[2 * i] + sigma[s] * post.noise[2 * i]);
        const y = Y(alpha[s] * post.data[2 * i + 1] + sigma[s] * post.noise[2 * i + 1]);
        if (q) g.lineTo(x, y); else g.moveTo(x, y);
      });
      g.stroke();
      g.fillStyle = look.noise;
      g.globalAlpha = Math.min(1, opacity + 0.25);
      g.beginPath();
      for (const { i } of items) {
        const x = X(alpha[0] * post.data[2 * i] + sigma[0] * post.noise[2 * i]), y = Y(alpha[0] * post.data[2 * i + 1] + sigma[0] * post.noise[2 * i + 1]);
        g.moveTo(x + 2.2 * dot, y); g.arc(x, y, 2.2 * dot, 0, 7);
      }
      g.fill();
    }
    g.globalAlpha = 1;
  }

  // ---- words

  write(view) {
    const { drawn, exact, post } = view, { over, words } = this.data, now = performance.now();
    put(this.find(".fw-time"), `t = ${this.t.toFixed(3)}`);
    this.range.setAttribute("aria-valuetext", `t = ${this.t.toFixed(3)}`);
    // Nobody reads sixty numbers a second, and each new one costs the browser a layout.
    clearTimeout(this.writing);
    if (now - (this.wrote ?? 0) < 80) { this.writing = setTimeout(() => this.redraw(), 90); return; }
    this.wrote = now;
    const what = over === "parts" ? words.parts : "points", sharp = (v) => short(v);
    const gap = Math.hypot(drawn.u - exact.u, drawn.v - exact.v);
    this.readouts([
      [`effective ${what}`, drawn.effective < 99.5 ? drawn.effective.toFixed(1) : Math.round(drawn.effective).toLocaleString("en"), `of ${post.n.toLocaleString("en")}`, "1 / Σ w²: how many would pull as much if all pulled alike."],
      ["heaviest weight", (100 * post.w[drawn.best]).toFixed(post.w[drawn.best] < 0.0995 ? 2 : 1), "%", "The largest posterior probability p(x₁ | x_t = x)."],
      ["|u|, their mean", sharp(drawn.speed), degrees(drawn.u, drawn.v), "Length and direction of the weighted mean of the conditional velocities."],
      ["|u|, closed form", sharp(exact.speed), degrees(exact.u, exact.v), "The marginal velocity of the distribution itself."],
      ["spread of arrows", sharp(drawn.spread), "", "Root mean square distance of the conditional velocities from their mean. Its square is the part of the loss at (t, x) that no network can remove."],
      ["mean − closed form", sharp(gap), "", "Length of the difference of the two strong arrows."],
    ]);
    const text = notice({ n: post.n, over, drawn, exact, words, heaviest: post.w[drawn.best] });
    if (text !== this.noticed) { this.noticed = text; this.find(".fw-notice").innerHTML = text; }
  }

  readouts(rows) {
    const list = this.find(".fw-readouts");
    if (list.children.length !== rows.length || this.labels !== String(rows.map((r) => r[0]))) {
      this.labels = String(rows.map((r) => r[0]));
      list.replaceChildren(...rows.map(([label, , , help]) => {
        const item = element("div"), value = element("dd");
        item.title = help;
        value.append(element("span"), " ", element("small"));
        item.append(element("dt", "", label), value);
        return item;
      }));
    }
    rows.forEach(([, value, unit], i) => {
      const [number, small] = list.children[i].lastChild.children;
      put(number, value);
      put(small, unit);
    });
  }

  legend() {
    const look = this.colours, { over, words, path } = this.data, ratio = devicePixelRatio || 1;
    const entry = (text, draw) => {
      const item = element("span"), canvas = element("canvas"), g = canvas.getContext("2d");
      canvas.width = 26 * ratio; canvas.height = 12 * ratio;
      g.scale(ratio, ratio);
      draw(g);
      item.append(canvas, text);
      return item;
    };
    const arrow = (colour, width, head) => (g) => { g.strokeStyle = g.fillStyle = colour; arrows(g, [[1, 6, 25, 6]], width, head); };
    this.find(".fw-legend").replaceChildren(
      entry(over === "parts" ? `${words.parts}, shaded by posterior weight` : "data points, shaded and sized by posterior weight", (g) => [0.35, 0.6, 1].forEach((a, i) => {
        g.globalAlpha = a; g.fillStyle = i ? look.data : look.noise; g.beginPath(); g.arc(5 + 8 * i, 6, 2 + i, 0, 7); g.fill();
      })),
      entry(`conditional paths through (t, x), ${path}`, (g) => { g.strokeStyle = look.role; g.lineWidth = 1.2; g.beginPath(); g.moveTo(3, 9); g.lineTo(25, 4); g.stroke(); g.fillStyle = look.noise; g.beginPath(); g.arc(3, 9, 2.4, 0, 7); g.fill(); }),
      entry("conditional velocities uₜ(x | x₁)", arrow(look.ink, 1.3, 7)),
      entry("their weighted mean", arrow(look.ink, 4, 11)),
      entry("closed form uₜ(x)", arrow(look.exact, 2.2, 8)),
      entry("E[x₁ | xₜ = x]", (g) => diamond(g, 13, 6, 5, look.data, look.paper)),
    );
  }

  // ---- picture to keep

  png() {
    const canvas = element("canvas"), g = canvas.getContext("2d"), size = 700;
    canvas.width = canvas.height = 2 * size;
    g.scale(2, 2);
    const c = this.coefficients();
    this.paint(g, size, c, this.compute(c));
    canvas.toBlob((blob) => {
      const link = element("a");
      link.href = URL.createObjectURL(blob);
      link.download = `flowviz-why-t${this.t.toFixed(3)}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }

  leave() {
    super.leave();
    clearTimeout(this.reporting);
    clearTimeout(this.writing);
  }
}
/** Rows of the table between which a conditional path is drawn: both ends where it is straight. */
export function rowsOf(alpha, sigma, most = 40) {
  const last = alpha.length - 1, rise = alpha[last] - alpha[0], fall = sigma[last] - sigma[0];
  const straight = alpha.every((a, i) => Math.abs((a - alpha[0]) * fall - (sigma[i] - sigma[0]) * rise) < 1e-9);
  const count = straight ? 1 : Math.min(most, last);
  return Array.from({ length: count + 1 }, (_, i) => Math.round((i * last) / count));
}

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

/** "#rrggbb" as [r, g, b]. */
const rgb = (text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));

/** Eight groups of like weight, each drawn in one go: [{alpha, items}], faint ones first. */
export function grouped(shown) {
  const groups = new Map();
  for (const item of shown) {
    const level = Math.ceil(8 * Math.sqrt(Math.min(1, item.w)));
    if (!groups.has(level)) groups.set(level, { alpha: 0.1 + (0.85 * level) / 8, items: [] });
    groups.get(level).items.push(item);
  }
  return [...groups.entries()].sort(([a], [b]) => a - b).map(([, group]) => group);
}

/** Arrows [x0, y0, x1, y1] in pixels, in the context's colours. */
function arrows(g, list, width, head) {
  const tips = [];
  g.lineWidth = width;
  g.lineCap = "butt";
  g.beginPath();
  for (const [x0, y0, x1, y1] of list) {
    const length = Math.hypot(x1 - x0, y1 - y0);
    if (length < 1) continue;
    const h = Math.min(head, length * 0.6), ux = (x1 - x0) / length, uy = (y1 - y0) / length;
    g.moveTo(x0, y0); g.lineTo(x1 - ux * h * 0.9, y1 - uy * h * 0.9);
    tips.push([x1, y1, x1 - ux * h, y1 - uy * h, -uy * h * 0.42, ux * h * 0.42]);
  }
  g.stroke();
  g.beginPath();
  for (const [x, y, bx, by, wx, wy] of tips) { g.moveTo(x, y); g.lineTo(bx + wx, by + wy); g.lineTo(bx - wx, by - wy); g.closePath(); }
  g.fill();
}

function diamond(g, x, y, r, fill, edge) {
  g.beginPath();
  g.moveTo(x, y - r); g.lineTo(x + r, y); g.lineTo(x, y + r); g.lineTo(x - r, y);
  g.closePath();
  g.fillStyle = fill; g.strokeStyle = edge; g.lineWidth = 2;
  g.stroke(); g.fill();
}

export default mounting(".fw", Touch);
