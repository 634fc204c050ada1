/* The flow player: every moment of the panels' payload is drawn here, the server is told on release.
 *
 * Streamlit mounts the default export once for each element and calls it again with new data. An
 * element is either a carrier of one scene (the plane behind the particles) or the player itself.
 * Everything above "The element" is pure or touches one pixel buffer, and is tested by itself.
 *
 * One buffer of packed pixels a panel is filled in JavaScript and shown by a single putImageData:
 * two thousand discs and six hundred arrows cost under a millisecond that way, on any machine,
 * where canvas calls cost several without a graphics card.
 */

export const LAYERS = ["particles", "trails", "density", "field", "data", "difference"];
/** Which density the layer of that name shows; a panel without a learned one shows the exact. */
export const DENSITIES = ["exact", "learned"];
export const SPEEDS = [0.25, 0.5, 1, 2];
/** Seconds from noise to data at speed 1. */
export const SWEEP = 4;
/** Moments of the film strip, as in Fig. 4 of Lipman et al. 2022. */
export const FRAMES = 10;
const TRAILS = 160;
const FEW = 24; // particles that are drawn larger, for each is to be followed
const EPS = 1e-6;

// ---------------------------------------------------------------------------------------- payload

const TYPES = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array };

/** The header of a payload, each of its array entries {dtype, shape, offset} made a typed array. */
export function unpack(bytes) {
  const given = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  const u8 = given.byteOffset % 8 ? given.slice() : given; // typed arrays must start aligned
  const view = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
  if (u8.byteLength < 16 || view.getUint32(0, true) !== 0x574f4c46 || view.getUint32(4, true) !== 1)
    throw new Error("This is no flow payload of version 1.");
  const start = 16 + view.getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(u8.subarray(16, start)));
  const fill = (node) => {
    for (const [name, value] of Object.entries(node)) {
      if (value === null || typeof value !== "object") continue;
      if (!("dtype" in value)) { fill(value); continue; }
      const length = value.shape.reduce((a, b) => a * b, 1);
      node[name] = new TYPES[value.dtype](u8.buffer, u8.byteOffset + start + value.offset, length);
      node[name].shape = value.shape;
    }
  };
  fill(header);
  return header;
}

// ------------------------------------------------------------------------------------------- time


/** Between which two frames t lies: {k, f} with f in [0, 1) the way from frame k to k + 1. */
export function locate(times, t) {
  const last = times.length - 1;
  if (t <= times[0]) return { k: 0, f: 0 };
  if (t >= times[last]) return { k: last, f: 0 };
  let low = 0, high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle; else high = middle;
  }
  return { k: low, f: (t - times[low]) / (times[low + 1] - times[low]) };
}

/** The last of the real steps that is not after t. */
export const stepAt = (times, t) => locate(times, t + EPS).k;

/** The nearest time of any of the lists strictly after t (direction 1) or before it (-1). */
export function neighbour(lists, t, direction) {
  let best = direction > 0 ? 1 : 0;
  for (const times of lists) for (const s of times) {
    const ahead = (s - t) * direction;
    if (ahead > 1e-4 && ahead < Math.abs(best - t) && s <= 1) best = s;
  }
  return best;
}

/** The clock after an action: {t, playing, speed}, with `release` when the server may hear of t. */
export function clockAfter(clock, action) {
  const { t, playing, speed } = clock;
  const at = (time, more) => ({ t: clamp(time, 0, 1), playing: false, speed, release: false, ...more });
  switch (action.type) {
    case "tick": {
      if (!playing) return { ...clock, release: false };
      const next = t + (action.seconds * speed) / SWEEP;
      return next >= 1 ? at(1, { release: true }) : at(next, { playing: true });
    }
    case "toggle":
      return playing ? at(t, { release: true }) : at(t >= 1 - EPS ? 0 : t, { playing: true });
    case "scrub": return at(action.t);
    case "release": return at(t, { release: true });
    case "jump": return at(action.t, { release: true });
    case "step": return at(neighbour(action.lists, t, action.direction), { release: true });
    case "speed": return { t, playing, speed: action.speed, release: false };
    default: throw new Error(`Unknown action ${action.type}.`);
  }
}

/** What a key means, or null. `onButton`: the key belongs to a focused button. */
export function keyMeaning(key, onButton = false) {
  if (key === " ") return onButton ? null : { act: "toggle" };
  if (key >= "1" && key <= "6") return { layer: LAYERS[+key - 1] };
  return {
    ArrowLeft: { act: "back" }, ArrowRight: { act: "forward" }, Home: { act: "start" },
    End: { act: "end" }, d: { act: "density" }, PageDown: { nudge: 0.1 }, PageUp: { nudge: -0.1 }, f: { act: "layout" },
    s: { act: "mode" }, 0: { act: "home" }, "+": { zoom: 0.8 }, "-": { zoom: 1.25 }, "?": { act: "help" }, Escape: { act: "escape" },
  }[key.length === 1 ? key.toLowerCase() : key] ?? null;
}

// ----------------------------------------------------------------------------------------- colour

/** "#rgb", "#rrggbb" or "rgb(r, g, b)" as [r, g, b]; anything else is black. */
export function rgb(text) {
  const hex = /^#([0-9a-f]{6}|[0-9a-f]{3})/i.exec(text.trim());
  if (hex) {
    const full = hex[1].length === 3 ? [...hex[1]].map((c) => c + c).join("") : hex[1];
    return [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16));
  }
  return (text.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
}

/** [r, g, b] as a pixel, in the order that ImageData has on little-endian machines. */
export const pixel = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** Relative luminance in [0, 1], near enough to tell a dark page from a light one. */
export const luminance = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

/** A ramp through evenly spaced hex stops as n pixels. */
export function ramp(stops, n = 1024) {
  const colours = stops.map(rgb), out = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const x = (i / (n - 1)) * (colours.length - 1), k = Math.min(colours.length - 2, Math.floor(x));
    out[i] = pixel(colours[k].map((c, j) => Math.round(c + (colours[k + 1][j] - c) * (x - k))));
  }
  return out;
}

// --------------------------------------------------------------------------------------- geometry

/** Round ticks inside [low, high], at most about `count`. */
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const out = [];
  for (let i = Math.ceil(low / step - EPS); i <= Math.floor(high / step + EPS); i++)
    out.push(Number((i * step).toPrecision(12)));
  return out;
}

/** A window {x, y, r} (centre and half-width) zoomed about a point of it, within the frame's reach. */
export function zoomed(window, factor, x, y, frame) {
  const r = clamp(window.r * factor, frame / 50, frame * 1.6), k = r / window.r;
  return kept({ x: x + (window.x - x) * k, y: y + (window.y - y) * k, r }, frame);
}

/** A window moved back so that its centre stays on the plane. */
export const kept = (window, frame) =>
  ({ ...window, x: clamp(window.x, -frame, frame), y: clamp(window.y, -frame, frame) });

/** Length in pixels of a velocity's arrow in a cell: rises with the speed, never leaves the cell. */
export const arrowLength = (speed, reference, cell) => (cell * 0.95 * speed) / (speed + reference);

// ----------------------------------------------------------------------------------------- pixels

/** A buffer of w x h packed pixels with the ImageData that shows it. */
export function surface(w, h = w) {
  const image = new ImageData(w, h);
  return { w, h, image, px: new Uint32Array(image.data.buffer) };
}

/** Mixes a colour into pixel i; alpha in 0..256. */
function mix(px, i, colour, alpha) {
  const d = px[i], drb = d & 0xff00ff, dg = d & 0xff00;
  const rb = (drb + (Math.imul((colour & 0xff00ff) - drb, alpha) >> 8)) & 0xff00ff;
  const g = (dg + (Math.imul((colour & 0xff00) - dg, alpha) >> 8)) & 0xff00;
  px[i] = 0xff000000 | rb | g;
}

const masks = new Map();

/** Coverage of a disc of radius r (pixels) at 4 x 4 offsets within a pixel, each size x size. */
export function discMasks(r) {
  const known = masks.get(r);
  if (known) return known;
  const size = 2 * Math.ceil(r) + 2, half = size / 2, out = [];
  for (let s = 0; s < 16; s++) {
    const cx = half - 0.5 + (s % 4) / 4 + 0.125, cy = half - 0.5 + (s >> 2) / 4 + 0.125;
    const mask = new Uint16Array(size * size);
    for (let i = 0; i < mask.length; i++) {
      let inside = 0; // of 8 x 8 points in the pixel
      for (let q = 0; q < 64; q++) {
        const x = (i % size) + ((q % 8) + 0.5) / 8, y = Math.floor(i / size) + ((q >> 3) + 0.5) / 8;
        if (Math.hypot(x - cx, y - cy) < r) inside++;
      }
      mask[i] = inside * 4;
    }
    out.push(mask);
  }
  const made = { size, half, masks: out };
  masks.set(r, made);
  return made;
}

/** A disc about (x, y); mask from discMasks, opacity in 0..256. */
export function disc(s, x, y, mask, colour, opacity = 256) {
  const qx = x + 0.5 - mask.half, qy = y + 0.5 - mask.half, { size } = mask;
  const x0 = Math.floor(qx), y0 = Math.floor(qy);
  if (x0 <= -size || y0 <= -size || x0 >= s.w || y0 >= s.h) return;
  const m = mask.masks[(((qy - y0) * 4) | 0) * 4 + (((qx - x0) * 4) | 0)];
  const jLow = Math.max(0, -y0), jHigh = Math.min(size, s.h - y0);
  const iLow = Math.max(0, -x0), iHigh = Math.min(size, s.w - x0);
  for (let j = jLow; j < jHigh; j++) {
    let at = (y0 + j) * s.w + x0 + iLow;
    for (let i = iLow, q = j * size + iLow; i < iHigh; i++, q++, at++)
      if (m[q]) mix(s.px, at, colour, (m[q] * opacity) >> 8);
  }
}

/** A straight line of some width with smooth edges; opacity in 0..256. */
export function line(s, x0, y0, x1, y1, width, colour, opacity = 256) {
  const steep = Math.abs(y1 - y0) > Math.abs(x1 - x0);
  if (steep) { let q = x0; x0 = y0; y0 = q; q = x1; x1 = y1; y1 = q; }
  if (x0 > x1) { let q = x0; x0 = x1; x1 = q; q = y0; y0 = y1; y1 = q; }
  const major = steep ? s.h : s.w, minor = steep ? s.w : s.h;
  const dx = steep ? s.w : 1, dy = steep ? 1 : s.w;
  const run = x1 - x0, slope = run > 1e-9 ? (y1 - y0) / run : 0;
  const half = (width * Math.sqrt(1 + slope * slope)) / 2;
  const first = Math.max(0, Math.floor(x0)), last = Math.min(major - 1, Math.ceil(x1) - 1);
  for (let i = first; i <= last; i++) {
    const along = Math.min(i + 1, x1) - Math.max(i, x0); // the ends cover part of a pixel
    if (along <= 0) continue;
    const centre = y0 + slope * (clamp(i + 0.5, x0, x1) - x0), low = centre - half, high = centre + half;
    const jHigh = Math.min(minor - 1, Math.ceil(high) - 1);
    for (let j = Math.max(0, Math.floor(low)); j <= jHigh; j++) {
      const across = Math.min(j + 1, high) - Math.max(j, low);
      if (across > 0) mix(s.px, i * dx + j * dy, colour, (across * along * opacity) | 0);
    }
  }
}

/** A filled triangle with smooth edges; corners in either order. */
export function triangle(s, ax, ay, bx, by, cx, cy, colour, opacity = 256) {
  if ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0) { let q = bx; bx = cx; cx = q; q = by; by = cy; cy = q; }
  const edge = (px, py, qx, qy) => { // inward unit normal and offset: distance inside, in pixels
    const l = Math.hypot(qx - px, qy - py) || 1;
    const nx = -(qy - py) / l, ny = (qx - px) / l;
    return [nx, ny, -(nx * px + ny * py)];
  };
  const [e0x, e0y, e0] = edge(ax, ay, bx, by), [e1x, e1y, e1] = edge(bx, by, cx, cy), [e2x, e2y, e2] = edge(cx, cy, ax, ay);
  const iLow = Math.max(0, Math.floor(Math.min(ax, bx, cx))), iHigh = Math.min(s.w - 1, Math.floor(Math.max(ax, bx, cx)));
  const jLow = Math.max(0, Math.floor(Math.min(ay, by, cy))), jHigh = Math.min(s.h - 1, Math.floor(Math.max(ay, by, cy)));
  for (let j = jLow; j <= jHigh; j++) for (let i = iLow; i <= iHigh; i++) {
    const x = i + 0.5, y = j + 0.5;
    const inside = Math.min(e0x * x + e0y * y + e0, e1x * x + e1y * y + e1, e2x * x + e2y * y + e2) + 0.5;
    if (inside > 0) mix(s.px, j * s.w + i, colour, (Math.min(1, inside) * opacity) | 0);
  }
}

/** Grid k of a (K, h, h) array, blended towards grid k + 1 by f. */
export function blended(grids, k, f, out) {
  const size = out.length, a = k * size, b = f > 0 ? a + size : a;
  for (let i = 0; i < size; i++) out[i] = grids[a + i] + (grids[b + i] - grids[a + i]) * f;
  return out;
}

/** Where the pixels of a row lie among the h nodes of a grid, kept while the window stays. */
function columns(s, h, window, frame) {
  const stamp = `${h} ${window.x} ${window.y} ${window.r} ${frame}`;
  const kept = (s.columns ??= new Map()).get(h);
  if (kept?.stamp === stamp) return kept;
  const step = (2 * frame) / (h - 1), scale = (2 * window.r) / s.w;
  const made = kept ?? { fx: new Float32Array(s.w), ix: new Int32Array(s.w), rows: new Float32Array(s.w * h) };
  Object.assign(made, { stamp, step, scale, left: s.w, right: 0 });
  for (let x = 0; x < s.w; x++) {
    const u = (window.x - window.r + (x + 0.5) * scale + frame) / step;
    if (u < 0 || u > h - 1) continue;
    made.left = Math.min(made.left, x);
    made.right = x + 1;
    made.ix[x] = Math.min(h - 2, Math.floor(u));
    made.fx[x] = u - made.ix[x];
  }
  s.columns.set(h, made);
  return made;
}

/** Calls row(first pixel, row below, row above, share of the latter) for each row of pixels that a
 *  grid over [-frame, frame]^2 covers; the rows are indices into `rows`, stretched to the width. */
function sampled(s, grid, h, window, frame, row) {
  const c = columns(s, h, window, frame), { fx, ix, rows, left, right } = c, { w } = s;
  const node = (y) => (window.y + window.r - (y + 0.5) * c.scale + frame) / c.step;
  const high = Math.min(h - 1, Math.ceil(node(0))), low = Math.max(0, Math.floor(node(s.h - 1)));
  for (let r = low; r <= high; r++) for (let x = left, base = r * h, at = r * w; x < right; x++) {
    const a = grid[base + ix[x]];
    rows[at + x] = a + (grid[base + ix[x] + 1] - a) * fx[x];
  }
  for (let y = 0; y < s.h; y++) {
    const v = node(y);
    if (v < 0 || v > h - 1) continue;
    const r = Math.min(h - 2, Math.floor(v));
    row(y * w, rows, r * w, v - r, left, right);
  }
}

/** Paints values in 0..255 by a ramp of pixels, from the first pixel of which the rest is empty. */
export function paintDensity(s, grid, h, window, frame, colours) {
  s.px.fill(colours[0]);
  const scale = (colours.length - 1) / 255, { px } = s;
  sampled(s, grid, h, window, frame, (base, rows, a, f, left, right) => {
    for (let x = left, b = a + s.w; x < right; x++) {
      const value = rows[a + x];
      px[base + x] = colours[((value + (rows[b + x] - value) * f) * scale) | 0];
    }
  });
}

/** Lays values in 0..255 over what is there: the ramp's colour, the more opaque the larger. */
export function layDifference(s, grid, h, window, frame, colours) {
  const scale = (colours.length - 1) / 255;
  sampled(s, grid, h, window, frame, (base, rows, a, f, left, right) => {
    for (let x = left, b = a + s.w; x < right; x++) {
      const value = rows[a + x] + (rows[b + x] - rows[a + x]) * f;
      if (value > 4) mix(s.px, base + x, colours[(value * scale) | 0], Math.min(225, value * 2.2) | 0);
    }
  });
}

// ---------------------------------------------------------------------------------------- picture

/** From plane to pixels: x -> x * scale + left, y -> top - y * scale. */
const projection = (s, window) => {
  const scale = s.w / (2 * window.r);
  return { scale, left: (window.r - window.x) * scale, top: (window.y + window.r) * scale };
};

/** u16 points as pixels: q -> q * m + c in each direction. */
const decoding = (p, limit) => {
  const m = (2 * limit * p.scale) / 65535;
  return { m, cx: p.left - limit * p.scale, cy: p.top + limit * p.scale };
};

function paintField(s, scene, k, f, window, frame, look, dot) {
  const g = scene.velocity.shape[1], { velocity, velocity_scale } = scene, p = projection(s, window);
  const a = k * g * g * 2, b = f > 0 ? a + g * g * 2 : a;
  const wa = velocity_scale[k] * (1 - f), wb = f > 0 ? velocity_scale[k + 1] * f : 0;
  const spacing = ((2 * frame) / (g - 1)) * p.scale, stride = Math.max(1, Math.ceil((9 * dot) / spacing));
  const cell = Math.min(spacing * stride, 44 * dot), width = 1.15 * dot, margin = cell;
  const offset = ((g - 1) % stride) >> 1;
  for (let j = offset; j < g; j += stride) for (let i = offset; i < g; i += stride) {
    const x = p.left + (-frame * p.scale + i * spacing), y = p.top + frame * p.scale - j * spacing;
    if (x < -margin || y < -margin || x > s.w + margin || y > s.h + margin) continue;
    const q = 2 * (j * g + i);
    const vx = velocity[a + q] * wa + velocity[b + q] * wb, vy = velocity[a + q + 1] * wa + velocity[b + q + 1] * wb;
    const speed = Math.hypot(vx, vy);
    const length = arrowLength(speed, look.speed, cell);
    if (length < dot) { disc(s, x, y, discMasks(0.7 * dot), look.arrow, look.arrowOpacity); continue; }
    const ux = vx / speed, uy = -vy / speed; // pixels count downwards
    const head = Math.min(length * 0.55, 4.6 * dot), wing = head * 0.42;
    const tipX = x + (ux * length) / 2, tipY = y + (uy * length) / 2;
    const neckX = tipX - ux * head, neckY = tipY - uy * head;
    line(s, x - (ux * length) / 2, y - (uy * length) / 2, neckX, neckY, width, look.arrow, look.arrowOpacity);
    triangle(s, tipX, tipY, neckX - uy * wing, neckY + ux * wing, neckX + uy * wing, neckY - ux * wing, look.arrow, look.arrowOpacity);
  }
}

/** Of n particles every so many one leaves a trail. */
const trailStride = (n) => Math.max(1, Math.floor(n / TRAILS));

/** Trails of some of the particles: the way so far, with dots at the real steps if `dots`. */
function paintTrails(s, states, limit, k, f, window, look, dot, dots) {
  const n = states.shape[1], { m, cx, cy } = decoding(projection(s, window), limit);
  const stride = trailStride(n), width = (dots ? 1.2 : 1.1) * dot;
  const small = discMasks(1.35 * dot), opacity = dots ? 130 : 120;
  for (let i = 0; i < n; i += stride) {
    let x = states[2 * i] * m + cx, y = cy - states[2 * i + 1] * m;
    disc(s, x, y, small, look.noise, 200);
    for (let q = 1; q <= k + (f > 0 ? 1 : 0); q++) {
      const at = (q * n + i) * 2;
      let x1 = states[at] * m + cx, y1 = cy - states[at + 1] * m;
      if (q > k) { x1 = x + (x1 - x) * f; y1 = y + (y1 - y) * f; }
      line(s, x, y, x1, y1, width, look.role, opacity);
      x = x1; y = y1;
      if (dots) disc(s, x, y, small, look.role, 230);
    }
  }
}

/** Every particle or, beside their trails, every `stride`-th. */
function paintParticles(s, states, limit, k, f, window, look, dot, stride, opacity) {
  const n = states.shape[1], { m, cx, cy } = decoding(projection(s, window), limit);
  const a = k * n * 2, b = f > 0 ? a + n * 2 : a;
  const mask = discMasks(look.radius * dot);
  for (let i = 0; i < n; i += stride) {
    const u = states[a + 2 * i], v = states[a + 2 * i + 1];
    disc(s, (u + (states[b + 2 * i] - u) * f) * m + cx, cy - (v + (states[b + 2 * i + 1] - v) * f) * m, mask, look.role, opacity);
  }
}

function paintData(s, scene, window, look, dot) {
  const { m, cx, cy } = decoding(projection(s, window), scene.data_limit), mask = discMasks(1.25 * dot);
  for (let i = 0; i < scene.data.length; i += 2)
    disc(s, scene.data[i] * m + cx, cy - scene.data[i + 1] * m, mask, look.data, 150);
}

/** One panel at time t into a surface: everything but axes and words.
 *  `learned` is a scene of its own, with its own times, whose density takes the place of the exact.
 *  look: {role, noise, data, arrow (pixels), density, difference (ramps), speed, radius, opacity}. */
export function paint(s, panel, scene, { t, mode, layers, window, frame, dot, look, learned = null }) {
  const on = (name) => layers.includes(name);
  const at = scene ? locate(scene.times, t) : null;
  const shown = learned ?? scene;
  if (on("density") && shown?.density) {
    const h = shown.density.shape[1], { k, f } = locate(shown.times, t);
    shown.scratch ??= new Float32Array(h * h);
    paintDensity(s, blended(shown.density, k, f, shown.scratch), h, window, frame, look.density);
  } else s.px.fill(look.density[0]);
  if (on("difference") && scene?.difference) {
    const h = scene.difference.shape[1], k = (scene.difference_peak || 1) / look.differencePeak;
    const grid = blended(scene.difference, at.k, at.f, (scene.scratch2 ??= new Float32Array(h * h)));
    if (k !== 1) { const r = Math.sqrt(k); for (let i = 0; i < grid.length; i++) grid[i] *= r; }
    layDifference(s, grid, h, window, frame, look.difference);
  }
  if (on("data") && scene?.data) paintData(s, scene, window, look, dot);
  if (on("field") && scene?.velocity) paintField(s, scene, at.k, at.f, window, frame, look, dot);
  const steps = mode === "steps";
  const states = steps ? panel.step_states : panel.states;
  const { k, f } = steps ? { k: stepAt(panel.step_times, t), f: 0 } : locate(panel.times, t);
  const particles = (stride, opacity) => on("particles") && paintParticles(s, states, panel.limit, k, f, window, look, dot, stride, opacity);
  if (!on("trails")) { particles(1, look.opacity); return; }
  // The many step back, so that one sees the ways of the few.
  particles(1, look.opacity * 0.3);
  paintTrails(s, states, panel.limit, k, f, window, look, dot, steps);
  particles(trailStride(states.shape[1]), 256);
}

/** Pixels along an edge, as a share of the screen's own, after frames [gap, paint] in ms. */
export function qualityAfter(quality, frames, ratio) {
  const middle = (i) => frames.map((f) => f[i]).sort((a, b) => a - b)[frames.length >> 1];
  if (middle(0) > 23 && middle(1) > 6) return Math.max(ratio > 1 ? 0.5 : 0.7, quality - 0.25);
  return middle(0) < 18 && middle(1) < 4 ? Math.min(1, quality + 0.25) : quality;
}

/** A read-out's text at time t: its number there, or the one it has for the whole run. */
export function readoutAt(readout, times, t) {
  const { values, decimals } = readout;
  let value = values[0];
  if (values.length > 1) {
    const { k, f } = locate(times, t);
    value = f > 0 && values[k] !== null && values[k + 1] !== null ? values[k] + (values[k + 1] - values[k]) * f : values[k];
  }
  return value === null ? "–" : value.toFixed(decimals);
}

const short = (x) => (x === 0 ? "0" : x >= 100 ? x.toFixed(0) : x.toPrecision(2));

/** The axes' ticks, labels and frame onto a 2D context whose plane lies at (left, top), side wide. */
export function drawAxes(c, { left, top, side, window, ink, muted, grid, font, size = 11 }) {
  const sx = side / (2 * window.r), snap = (v) => Math.round(v) + 0.5;
  c.font = `${size}px ${font}`;
  c.lineWidth = 1;
  c.strokeStyle = muted;
  c.fillStyle = ink;
  c.beginPath();
  c.textAlign = "center"; c.textBaseline = "top";
  for (const x of ticks(window.x - window.r, window.x + window.r)) {
    const at = left + (x - window.x + window.r) * sx;
    c.moveTo(snap(at - 0.5), top + side); c.lineTo(snap(at - 0.5), top + side + 4);
    c.fillText(String(x).replace("-", "−"), clamp(at, left + 8, left + side - 26), top + side + 6);
  }
  c.textAlign = "right"; c.textBaseline = "middle";
  for (const y of ticks(window.y - window.r, window.y + window.r)) {
    const at = top + (window.y + window.r - y) * sx;
    c.moveTo(left - 4, snap(at - 0.5)); c.lineTo(left, snap(at - 0.5));
    c.fillText(String(y).replace("-", "−"), left - 7, clamp(at, top + 24, top + side - 5));
  }
  c.stroke();
  c.strokeStyle = muted;
  c.strokeRect(snap(left) - 1, snap(top) - 1, side + 1, side + 1);
  c.font = `italic ${size + 2}px ${font}`;
  c.textAlign = "right"; c.textBaseline = "top";
  c.fillText("x₁", left + side, top + side + 4);
  c.textBaseline = "top";
  c.fillText("x₂", left - 7, top);
}

// ------------------------------------------------------------------------------------------ scenes

/** Scenes by content name, shared by all elements of the page. */
export function sceneStore(limit = 8) {
  const scenes = new Map(), carried = new Map(), waiting = new Set();
  return {
    /** A carrier now holds these bytes under this name; the ones nobody needs go, oldest first. */
    put(carrier, name, make) {
      carried.set(carrier, name);
      if (!scenes.has(name)) scenes.set(name, make());
      const scene = scenes.get(name);
      scenes.delete(name); scenes.set(name, scene); // youngest last
      for (const old of [...scenes.keys()]) {
        if (scenes.size <= limit) break;
        if (![...carried.values()].includes(old)) scenes.delete(old);
      }
      for (const tell of [...waiting]) tell();
    },
    drop(carrier) { carried.delete(carrier); },
    get: (name) => scenes.get(name) ?? null,
    watch(tell) { waiting.add(tell); return () => waiting.delete(tell); },
    get size() { return scenes.size; },
  };
}

const shared = (globalThis[Symbol.for("flowviz.player")] ??= { scenes: sceneStore(), views: new Map() });

// ------------------------------------------------------------------------------------- The element

const NAMES = { particles: "Particles", trails: "Trails", density: "Density", field: "Field", data: "Data", difference: "Difference" };
const EDGE = { left: 28, right: 1, top: 1, bottom: 20 };

/** A label such as "density p_t" with its index set low. */
function indexed(text) {
  const made = element("em");
  text.split(/_(\w)/).forEach((part, i) => made.append(i % 2 ? element("sub", "", part) : part));
  return made;
}

/** Players on the page: where nothing has the focus, keys go to the first. */
const alive = new Set();

/** While a lecture runs, arrows and a clicker's keys turn its steps unless a player has the focus. */
const belongsToLecture = (key) => "lecture" in document.documentElement.dataset && /^(Arrow|Page)/.test(key);

class Player {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.clock = { t: 0, playing: false, speed: 1 };
    this.view = { layers: ["particles", "density", "field"], density: "exact", mode: "smooth", layout: "panels" };
    this.quality = 1;
    this.gaps = [];
    this.cells = [];
    this.drawn = 0;
    alive.add(this);
    this.bind();
    this.unwatch = shared.scenes.watch(() => this.adopt());
    this.sizes = new ResizeObserver(() => { this.axesStale = this.stripStale = true; this.ask(); });
    this.sizes.observe(root);
  }

  destroy() {
    alive.delete(this);
    document.removeEventListener("keydown", this.onPage);
    cancelAnimationFrame(this.request);
    clearTimeout(this.reporting);
    clearTimeout(this.settling);
    this.unwatch();
    this.sizes.disconnect();
    this.gone = true;
  }

  // ---- data

  update(data, tell) {
    this.tell = tell;
    const head = unpack(data);
    const first = !this.head;
    if (first) this.open(head);
    const fresh = this.head?.payload !== head.payload;
    if (fresh) this.body = unpack(head.panels);
    this.head = head;
    this.root.style.setProperty("--reserve", `${head.reserve}px`);
    if (fresh) this.build();
    this.dress();
    this.adopt();
    if (first && head.autoplay && !shared.views.get(head.key)?.played &&
        !matchMedia("(prefers-reduced-motion: reduce)").matches) this.clock.playing = true;
    this.remember({ played: true });
    this.ask();
  }

  open(head) {
    const { t, speed, ...view } = { ...head.initial, ...shared.views.get(head.key)?.view };
    this.clock = { t, speed, playing: false };
    this.view = view;
    this.told = JSON.stringify(this.seen);
    this.window = { x: 0, y: 0, r: unpack(head.panels).frame };
  }

  get seen() { return { t: this.clock.t, speed: this.clock.speed, ...this.view }; }
  remember(more) {
    shared.views.set(this.head.key, { ...shared.views.get(this.head.key), view: this.seen, ...more });
  }

  /** Takes up the scenes that the payload names, as far as they have come. */
  adopt() {
    if (!this.head) return;
    const scenes = this.head.scenes.map((name) => name && shared.scenes.get(name));
    // While a new scene is under way the old one stays, so that no panel blinks.
    this.scenes = this.body.panels.map((_, i) => scenes[i] ?? (this.head.scenes[i] ? this.scenes?.[i] ?? null : null));
    const learned = this.head.learned.map((name) => name && shared.scenes.get(name));
    this.learned = this.body.panels.map((_, i) => learned[i] ?? null);
    this.find(".fv-densities").hidden = !this.head.learnable;
    const known = this.scenes.filter(Boolean);
    const speeds = known.filter((s) => s.speed).map((s) => s.speed);
    this.speed = speeds.reduce((a, b) => a + b, 0) / (speeds.length || 1) || 1;
    this.differencePeak = Math.max(EPS, ...known.map((s) => s.difference_peak ?? 0));
    this.complete = [...this.head.scenes, ...this.head.learned].every((name) => !name || shared.scenes.get(name));
    for (const button of this.root.querySelectorAll("[data-layer]")) {
      const field = { density: "density", field: "velocity", data: "data", difference: "difference" }[button.dataset.layer];
      button.disabled = Boolean(field) && !known.some((s) => s[field]);
    }
    this.stripStale = true;
    this.ask();
  }

  /** Colours of the page's theme, again whenever it may have changed. */
  dress() {
    const style = getComputedStyle(this.root);
    const page = style.getPropertyValue("--st-background-color").trim() || "#fff";
    const dark = luminance(rgb(page)) < 0.5, theme = this.head.theme[dark ? "dark" : "light"];
    this.font = style.fontFamily;
    this.theme = theme;
    const density = ramp(theme.density), difference = ramp(theme.difference);
    const base = {
      density, difference, noise: pixel(rgb(theme.roles.noise)), data: pixel(rgb(theme.roles.data)),
      arrow: pixel(rgb(theme.ink)), arrowOpacity: dark ? 150 : 138, opacity: 220,
    };
    this.colours = this.body.panels.map((panel) => theme.roles[panel.role] ?? theme.ink);
    this.looks = this.colours.map((colour) => ({ ...base, role: pixel(rgb(colour)) }));
    this.root.dataset.theme = dark ? "dark" : "light";
    this.cells.forEach((cell, i) => {
      cell.figure.style.setProperty("--role", this.colours[i]);
      cell.row.style.setProperty("--role", this.colours[i]);
    });
    this.dressLayers();
    this.axesStale = this.stripStale = true;
  }

  /** Panels and strip rows; kept as they are where the count is the same, so that nothing jumps. */
  build() {
    const { panels } = this.body;
    if (this.cells.length !== panels.length) {
      this.find(".fv-panels").replaceChildren();
      this.find(".fv-strip").replaceChildren();
      this.cells = panels.map(() => this.makeCell());
    }
    panels.forEach((panel, i) => {
      const cell = this.cells[i];
      for (const caption of [cell.figure.firstChild, cell.row.firstChild]) {
        caption.children[0].textContent = panel.title;
        caption.children[1].textContent = panel.note;
      }
      cell.plane.setAttribute("aria-label", `${panel.title}: ${panel.states.shape[1]} particles`);
      cell.readouts = [cell.figure.lastChild, cell.row.lastChild].map((list) => {
        list.replaceChildren();
        return panel.readouts.map((readout) => {
          const item = element("div"), value = element("dd"), number = element("span");
          if (readout.help) item.title = readout.help;
          value.append(number);
          if (readout.unit) value.append(" ", element("small", "", readout.unit));
          item.append(element("dt", "", readout.label), value);
          list.append(item);
          return number;
        });
      });
    });
    this.tickStale = this.stripStale = true;
  }

  makeCell() {
    const caption = () => { const c = element("figcaption"); c.append(element("span"), element("span", "fv-note")); return c; };
    const figure = element("figure"), plot = element("div", "fv-plot"), plane = element("div", "fv-plane");
    const canvas = element("canvas"), axes = element("canvas", "fv-axes");
    plane.setAttribute("role", "img");
    plane.append(canvas);
    plot.append(plane, axes);
    figure.append(caption(), plot, element("dl", "fv-readouts"));
    this.find(".fv-panels").append(figure);
    this.bindPlane(plane);
    const row = element("div", "fv-row"), frames = element("div", "fv-frames");
    const shots = Array.from({ length: FRAMES }, (_, i) => {
      const t = i / (FRAMES - 1), button = element("button", "fv-frame"), shot = element("canvas");
      button.type = "button";
      button.setAttribute("aria-label", `t = ${t.toFixed(2)}`);
      button.append(shot, element("span", "", i % 9 ? (i ? `${i}/9` : "") : `t = ${i / 9}`));
      button.addEventListener("click", () => this.act({ type: "jump", t }));
      frames.append(button);
      return { button, shot, t };
    });
    row.append(caption(), frames, element("dl", "fv-readouts"));
    this.find(".fv-strip").append(row);
    const context = (c) => c.getContext("2d", { alpha: false, willReadFrequently: true });
    return { figure, plot, plane, canvas, c: context(canvas), axes, row, shots, context, readouts: [] };
  }

  // ---- controls

  bind() {
    const { root } = this, range = this.find("input");
    this.range = range;
    this.output = this.find("output");
    this.playButton = this.find(".fv-play");
    const speed = this.find("select");
    for (const s of SPEEDS) speed.append(new Option(`${s}×`, s));
    speed.addEventListener("change", () => { this.act({ type: "speed", speed: +speed.value }); this.report(); });
    const layers = this.find(".fv-layers");
    LAYERS.forEach((name, i) => {
      const button = element("button"), swatch = element("canvas", "fv-swatch");
      button.type = "button";
      button.dataset.layer = name;
      button.title = `${NAMES[name]} (${i + 1})`;
      button.append(swatch, element("span", "", NAMES[name]));
      layers.append(button);
    });
    range.addEventListener("input", () => this.act({ type: "scrub", t: +range.value }));
    range.addEventListener("change", () => this.act({ type: "release" }));
    root.addEventListener("click", (e) => {
      const { act, mode, layout, layer, density } = e.target.closest("button")?.dataset ?? {};
      if (act) this.perform(act);
      else if (layer) this.toggleLayer(layer);
      else if (density) this.pick(density);
      else if (mode) this.set({ mode });
      else if (layout) this.set({ layout });
    });
    root.addEventListener("keydown", (e) => this.onKey(e));
    document.addEventListener("keydown", this.onPage = (e) => {
      const first = [...alive].find((player) => player.root.isConnected);
      if (first !== this || document.activeElement !== document.body || e.defaultPrevented) return;
      if (!belongsToLecture(e.key)) this.onKey(e);
    });
  }

  onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.tagName === "SELECT") return;
    const meaning = keyMeaning(e.key, e.target.tagName === "BUTTON");
    if (!meaning) return;
    e.preventDefault();
    e.stopPropagation(); // Streamlit has single-key shortcuts of its own
    if (meaning.act) this.perform(meaning.act);
    else if (meaning.layer) this.toggleLayer(meaning.layer);
    else if (meaning.zoom) this.zoom(meaning.zoom);
    else this.act({ type: "jump", t: this.clock.t + meaning.nudge });
  }

  bindPlane(plane) {
    const place = (e) => {
      const box = plane.getBoundingClientRect(), w = this.window;
      return {
        x: w.x - w.r + ((e.clientX - box.left) / box.width) * 2 * w.r,
        y: w.y + w.r - ((e.clientY - box.top) / box.height) * 2 * w.r,
        unit: (2 * w.r) / box.width,
      };
    };
    plane.addEventListener("wheel", (e) => {
      const { frame } = this.body;
      // On the whole plane, a wheel turned down scrolls the page, as its reader expects.
      if (e.deltaY > 0 && this.window.r >= frame && !e.ctrlKey) return;
      e.preventDefault();
      const { x, y } = place(e), pixels = e.deltaMode === 1 ? 33 * e.deltaY : e.deltaY;
      this.zoom(Math.exp(clamp(pixels, -240, 240) * 0.0015), x, y);
    }, { passive: false });
    plane.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      plane.setPointerCapture(e.pointerId);
      this.drag = { x: e.clientX, y: e.clientY, window: this.window, unit: place(e).unit };
    });
    plane.addEventListener("pointermove", (e) => {
      if (!this.drag) return;
      const { x, y, window, unit } = this.drag;
      this.look(kept({ ...window, x: window.x - (e.clientX - x) * unit, y: window.y + (e.clientY - y) * unit }, this.body.frame));
    });
    for (const end of ["pointerup", "pointercancel"]) plane.addEventListener(end, () => { this.drag = null; });
    plane.addEventListener("dblclick", () => this.perform("home"));
  }

  /** Zooms about a point; on the way out it rests at the whole plane. */
  zoom(factor, x = this.window.x, y = this.window.y) {
    const { frame } = this.body, next = zoomed(this.window, factor, x, y, frame);
    this.look(this.window.r < frame && next.r >= frame ? { x: 0, y: 0, r: frame } : next);
  }

  look(window) {
    this.window = window;
    this.axesStale = this.stripStale = true;
    this.moving();
    this.ask();
  }

  perform(name) {
    const { view, body } = this;
    const step = (direction) => this.act({
      type: "step", direction,
      lists: body.panels.map((p) => (view.mode === "steps" ? p.step_times : p.times)),
    });
    ({
      toggle: () => this.act({ type: "toggle" }),
      back: () => step(-1),
      forward: () => step(1),
      start: () => this.act({ type: "jump", t: 0 }),
      end: () => this.act({ type: "jump", t: 1 }),
      mode: () => this.set({ mode: view.mode === "steps" ? "smooth" : "steps" }),
      layout: () => this.set({ layout: view.layout === "strip" ? "panels" : "strip" }),
      density: () => this.head.learnable && this.pick(view.density === "learned" ? "exact" : "learned"),
      home: () => this.look({ x: 0, y: 0, r: body.frame }),
      png: () => this.download(),
      help: () => this.help(this.find(".fv-help").hidden),
      escape: () => this.help(false),
    })[name]();
  }

  help(shown) {
    this.find(".fv-help").hidden = !shown;
    this.find('[data-act="help"]').setAttribute("aria-expanded", shown);
  }

  /** Chooses a density and shows its layer. */
  pick(density) {
    const { layers } = this.view;
    this.set({ density, layers: LAYERS.filter((l) => l === "density" || layers.includes(l)) });
  }

  /** The learned density of panel i, if it is asked for and here. */
  learnedOf(i) { return this.view.density === "learned" ? this.learned[i] : null; }

  toggleLayer(name) {
    if (this.find(`[data-layer="${name}"]`).disabled) return;
    const on = new Set(this.view.layers);
    if (!on.delete(name)) on.add(name);
    this.set({ layers: LAYERS.filter((l) => on.has(l)) });
  }

  set(change) {
    // Another layout takes the clock's old place; trails explain the polygons of real steps.
    Object.assign(this.view, change);
    this.stripStale = this.tickStale = this.axesStale = true;
    this.ask();
    if (!this.clock.playing) this.report(300);
  }

  act(action) {
    const was = this.clock.playing;
    const { release, ...clock } = clockAfter(this.clock, action);
    this.clock = clock;
    if (clock.playing && !was) { this.last = undefined; this.gaps = []; }
    if (release) this.report(action.type === "step" || action.type === "jump" ? 250 : 0);
    if (action.type === "scrub") this.moving();
    this.ask();
  }

  /** Tells the server what is seen, once things are quiet; never while the clock runs. */
  report(wait = 0) {
    clearTimeout(this.reporting);
    this.remember();
    this.reporting = setTimeout(() => {
      const seen = JSON.stringify(this.seen);
      if (this.gone || this.clock.playing || seen === this.told) return;
      this.told = seen;
      this.tell?.(JSON.parse(seen));
    }, wait);
  }

  // ---- drawing

  ask() {
    if (this.request || this.gone) return;
    this.request = requestAnimationFrame((now) => {
      this.request = 0;
      this.tick(now);
    });
  }

  tick(now) {
    if (!this.body) return;
    if (this.clock.playing) {
      const gap = this.last === undefined ? 0 : now - this.last;
      this.last = now;
      this.act({ type: "tick", seconds: Math.min(gap, 250) / 1000 });
      this.moving(gap);
    }
    this.draw();
    if (this.clock.playing) this.ask();
  }

  /** Watches a movement's frames: where painting makes them late, it gets fewer pixels for now. */
  moving(gap) {
    if (gap) this.gaps.push([gap, this.paintTime]);
    if (this.gaps.length >= 16) {
      this.quality = qualityAfter(this.quality, this.gaps, devicePixelRatio || 1);
      this.gaps = [];
    }
    this.resting = false;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      if (this.clock.playing) return;
      this.resting = true;
      this.ask();
    }, 140);
  }

  draw() {
    const strip = this.view.layout === "strip";
    const { t, playing, speed } = this.clock;
    this.find(".fv-panels").hidden = strip;
    this.find(".fv-strip").hidden = !strip;
    const began = performance.now();
    if (strip) this.drawStrip(); else this.drawPanels();
    this.paintTime = performance.now() - began;
    if (this.tickStale) this.drawTicks();
    const shown = t.toFixed(3);
    if (this.range.value !== shown) this.range.value = t;
    this.write(this.output, `t = ${shown}`);
    this.range.setAttribute("aria-valuetext", `t = ${shown}`);
    this.dressControls(playing, speed);
    // Nobody reads sixty numbers a second, and each new one costs the browser a layout.
    if (!this.moved() || began - (this.wrote ?? 0) > 90) {
      this.wrote = began;
      this.body.panels.forEach((panel, i) => panel.readouts.forEach((readout, j) => {
        this.write(this.cells[i].readouts[strip ? 1 : 0][j], readoutAt(readout, panel.times, t));
      }));
      this.drawLegend(t);
    }
    this.drawn += 1;
    Object.assign(this.root.dataset, {
      t: shown, playing: String(playing), drawn: this.drawn, quality: this.quality,
      payload: this.complete ? this.head.payload : "", paint: this.paintTime.toFixed(1),
    });
  }

  write(node, text) { if (node.textContent !== text) node.textContent = text; }

  settings(i, t, dot, radius = 1.75) {
    const look = this.looks[i];
    look.speed = this.speed;
    look.differencePeak = this.differencePeak;
    look.radius = this.body.panels[i].states.shape[1] <= FEW ? 2.2 * radius : radius;
    return { t, mode: this.view.mode, layers: this.view.layers, window: this.window, frame: this.body.frame, dot, look, learned: this.learnedOf(i) };
  }

  drawPanels() {
    const density = Math.min(2, devicePixelRatio || 1) * (this.resting || !this.moved() ? 1 : this.quality);
    this.cells.forEach((cell, i) => {
      const side = cell.plane.clientWidth;
      if (!side) return;
      const w = Math.max(32, Math.round(side * density));
      if (cell.surface?.w !== w) {
        cell.surface = surface(w);
        cell.canvas.width = cell.canvas.height = w;
      }
      // Dots are a share of the plane, so that a small panel is a large one seen from afar.
      paint(cell.surface, this.body.panels[i], this.scenes[i], this.settings(i, this.clock.t, (w / side) * clamp(side / 440, 0.7, 1.5)));
      cell.c.putImageData(cell.surface.image, 0, 0);
      if (this.axesStale) this.drawCellAxes(cell, side);
    });
    this.axesStale = false;
  }

  moved() { return this.clock.playing || this.resting === false; }

  drawCellAxes(cell, side) {
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = cell.plot;
    cell.axes.width = Math.round(w * ratio);
    cell.axes.height = Math.round(h * ratio);
    const c = cell.axes.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawAxes(c, this.axesStyle(EDGE.left, EDGE.top, side));
  }

  axesStyle(left, top, side, size) {
    const { ink, muted, grid } = this.theme;
    return { left, top, side, window: this.window, ink, muted, grid, font: this.font, size };
  }

  drawStrip() {
    const near = Math.round(this.clock.t * (FRAMES - 1));
    this.cells.forEach((cell, i) => cell.shots.forEach(({ button, shot, t }, j) => {
      button.setAttribute("aria-current", String(j === near));
      if (!this.stripStale) return;
      const side = shot.clientWidth, ratio = Math.min(2, devicePixelRatio || 1);
      if (!side) return;
      const w = Math.round(side * ratio), s = surface(w);
      shot.width = shot.height = w;
      paint(s, this.body.panels[i], this.scenes[i], this.settings(i, t, ratio * clamp(side / 150, 0.6, 1), 1));
      cell.context(shot).putImageData(s.image, 0, 0);
    }));
    this.stripStale = false;
  }

  /** Marks under the slider at the real steps of each panel, one row a panel. */
  drawTicks() {
    const canvas = this.find(".fv-ticks"), ratio = devicePixelRatio || 1, w = canvas.clientWidth;
    if (!w) return;
    this.tickStale = false;
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(8 * ratio);
    if (this.view.mode !== "steps") return;
    const c = canvas.getContext("2d"), thumb = 8, rows = this.body.panels.length;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.body.panels.forEach((panel, i) => {
      c.fillStyle = this.colours[i];
      for (const t of panel.step_times)
        c.fillRect(Math.round(thumb + t * (w - 2 * thumb)) - 0.5, (8 / rows) * i, 1.5, 8 / rows - 1);
    });
  }

  dressControls(playing, speed) {
    const pressed = (node, on) => { if (node.getAttribute("aria-pressed") !== String(on)) node.setAttribute("aria-pressed", String(on)); };
    if (this.playButton.getAttribute("aria-pressed") !== String(playing)) {
      pressed(this.playButton, playing);
      this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    }
    const stamp = JSON.stringify([this.view, speed, this.window]);
    if (stamp === this.dressed) return;
    this.dressed = stamp;
    for (const b of this.root.querySelectorAll("[data-layer]")) pressed(b, this.view.layers.includes(b.dataset.layer));
    for (const b of this.root.querySelectorAll("[data-density]")) pressed(b, this.view.density === b.dataset.density);
    for (const b of this.root.querySelectorAll("[data-mode]")) pressed(b, this.view.mode === b.dataset.mode);
    for (const b of this.root.querySelectorAll("[data-layout]")) pressed(b, this.view.layout === b.dataset.layout);
    this.find("select").value = speed;
    const w = this.window;
    this.find('[data-act="home"]').disabled = w.x === 0 && w.y === 0 && w.r === this.body.frame;
  }

  /** The little pictures on the layers' buttons. */
  dressLayers() {
    const ratio = devicePixelRatio || 1, { theme } = this;
    for (const button of this.root.querySelectorAll("[data-layer]")) {
      const canvas = button.firstChild, c = canvas.getContext("2d");
      canvas.width = 18 * ratio; canvas.height = 12 * ratio;
      c.scale(ratio, ratio);
      c.lineWidth = 1.6;
      const dots = (colours) => colours.forEach((colour, i) => {
        c.fillStyle = colour;
        c.beginPath(); c.arc(18 * ((i + 0.5) / colours.length), 6, colours.length > 2 ? 2.6 : 3.4, 0, 7); c.fill();
      });
      const scale = (stops) => {
        const g = c.createLinearGradient(0, 0, 18, 0);
        stops.forEach((s, i) => g.addColorStop(i / (stops.length - 1), s));
        c.fillStyle = g; c.fillRect(0, 1, 18, 10);
        c.strokeStyle = theme.muted; c.lineWidth = 1; c.strokeRect(0.5, 1.5, 17, 9);
      };
      const roles = [...new Set(this.colours)];
      ({
        particles: () => dots(roles),
        trails: () => roles.forEach((colour, i) => {
          c.strokeStyle = colour;
          c.beginPath(); c.moveTo(1, 10 - 4 * i); c.quadraticCurveTo(9, 9 - 6 * i, 17, 5 - 3 * i); c.stroke();
        }),
        density: () => scale(theme.density),
        field: () => {
          c.strokeStyle = c.fillStyle = theme.ink;
          c.beginPath(); c.moveTo(2, 9); c.lineTo(12, 4.5); c.stroke();
          c.beginPath(); c.moveTo(16, 2.6); c.lineTo(11.5, 7.4); c.lineTo(9.6, 3); c.fill();
        },
        data: () => dots([theme.roles.data, theme.roles.data]),
        difference: () => scale(theme.difference),
      })[button.dataset.layer]();
    }
  }

  /** What the shown layers' colours mean, with the numbers at the ramps' ends at the clock's time. */
  legend(t) {
    const scenes = this.scenes.filter(Boolean), { layers, mode } = this.view, out = [];
    const label = (name) => scenes[0]?.labels[name];
    const on = (name, field) => layers.includes(name) && (!field || scenes.some((s) => s[field]));
    if (on("particles")) out.push({ text: mode === "steps" ? "particles at their last real step" : "particles, noise to data", dots: this.colours });
    if (on("trails")) out.push({ text: mode === "steps" ? "steps taken so far, from" : "way so far, from", dots: [this.theme.roles.noise], tail: "noise" });
    if (on("density", "density")) {
      const shown = this.scenes.map((s, i) => this.learnedOf(i) ?? s).filter((s) => s?.density);
      const peaks = shown.map((s) => {
        const { k, f } = locate(s.times, t), p = s.density_peak;
        return short(f > 0 ? p[k] + (p[k + 1] - p[k]) * f : p[k]);
      });
      // Each moment of a strip has a peak of its own.
      const ends = this.view.layout === "strip" ? "each peak" : peaks.join(" | ");
      out.push({ text: [...new Set(shown.map((s) => s.labels.density))].join(" | "), ramp: this.theme.density, ends });
    }
    if (on("field", "velocity")) out.push({ text: `${label("field")} (length grows with speed, saturating)`, arrow: true });
    if (on("data", "data")) out.push({ text: label("data"), dots: [this.theme.roles.data] });
    if (on("difference", "difference")) out.push({ text: label("difference"), ramp: this.theme.difference, ends: short(this.differencePeak) });
    return out;
  }

  drawLegend(t) {
    const entries = this.legend(t), box = this.find(".fv-legend");
    const shape = JSON.stringify([entries.map(({ ends, ...e }) => e)]);
    if (shape !== this.legendShape) {
      this.legendShape = shape;
      box.replaceChildren(...entries.map((e) => {
        const item = element("span");
        for (const colour of new Set(e.dots ?? [])) { item.append(e.tail ? "" : this.dot(colour)); }
        if (e.arrow) item.append(element("i", "fv-arrow", "↗"));
        item.append(indexed(e.text));
        if (e.tail) item.append(this.dot(e.dots[0]), element("em", "", e.tail));
        if (e.ramp) {
          const bar = element("i", "fv-ramp");
          bar.style.background = `linear-gradient(90deg, ${e.ramp.join(", ")})`;
          const end = element("b"); // as wide as its longest number, so that no line breaks anew
          end.style.minWidth = `${6 * e.ends.split("|").length}ch`;
          item.append(element("em", "", "0"), bar, end);
        }
        return item;
      }));
    }
    const ends = entries.filter((e) => e.ramp);
    box.querySelectorAll("b").forEach((node, i) => this.write(node, ends[i].ends));
  }

  dot(colour) {
    const made = element("i");
    made.style.cssText = `width:8px;height:8px;border-radius:50%;display:inline-block;background:${colour}`;
    return made;
  }

  // ---- picture to keep

  /** The present view as one canvas, drawn again at print size. */
  picture() {
    const { theme, body, view } = this, n = body.panels.length, strip = view.layout === "strip";
    const side = strip ? 220 : 900, gap = strip ? 10 : 70, size = strip ? 20 : 22;
    const left = strip ? 24 : 64, top = 84, rowHeight = side + (strip ? 96 : 110);
    const canvas = element("canvas");
    canvas.width = strip ? 2 * left + FRAMES * (side + gap) - gap : n * (left + side) + gap;
    canvas.height = strip ? 40 + n * rowHeight : top + side + 110;
    const c = canvas.getContext("2d");
    c.fillStyle = theme.paper;
    c.fillRect(0, 0, canvas.width, canvas.height);
    const stamp = (i, t, x, y, dot, radius) => {
      const s = surface(side);
      paint(s, body.panels[i], this.scenes[i], this.settings(i, t, dot, radius));
      c.putImageData(s.image, x, y);
    };
    const words = (text, x, y, font, colour, align = "left") => {
      c.font = font; c.fillStyle = colour; c.textAlign = align; c.textBaseline = "alphabetic";
      c.fillText(text, x, y);
    };
    body.panels.forEach((panel, i) => {
      const x = strip ? left : i * (left + side) + left, y = strip ? 60 + i * rowHeight : top;
      words(panel.title, x, y - 22, `600 ${size + 4}px ${this.font}`, this.colours[i]);
      const width = c.measureText(panel.title).width;
      words(panel.note, x + width + 16, y - 22, `${size}px ${this.font}`, theme.muted);
      if (!strip) {
        stamp(i, this.clock.t, x, y, 2, 1.75);
        drawAxes(c, this.axesStyle(x, y, side, size));
        words(`t = ${this.clock.t.toFixed(3)}`, x + side, y - 22, `600 ${size + 4}px ${this.font}`, theme.ink, "right");
        return;
      }
      for (let j = 0; j < FRAMES; j++) {
        const at = x + j * (side + gap);
        stamp(i, j / (FRAMES - 1), at, y, 1.5, 1);
        c.strokeStyle = theme.grid;
        c.strokeRect(at - 0.5, y - 0.5, side + 1, side + 1);
        words(`t = ${j % 9 ? `${j}/9` : j / 9}`, at + side / 2, y + side + 26, `${size}px ${this.font}`, theme.muted, "center");
      }
    });
    words(this.legend(this.clock.t).map((e) => e.text.replaceAll("_t", "ₜ") + (e.tail ? ` ${e.tail}` : "") + (e.ends ? ` 0 to ${e.ends}` : "")).join("   ·   "),
      left, canvas.height - 22, `${size - 3}px ${this.font}`, theme.muted);
    return canvas;
  }

  download() {
    this.picture().toBlob((blob) => {
      const link = element("a");
      link.href = URL.createObjectURL(blob);
      link.download = this.view.layout === "strip" ? "flowviz-strip.png" : `flowviz-t${this.clock.t.toFixed(3)}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }
}

const players = new WeakMap();

/** Streamlit runs the clean-up of a superseded call too: only a root that left the page is gone. */
const once = (node, end) => () => setTimeout(() => { if (!node.isConnected) end(); }, 0);

export default function mount({ data, parentElement, setStateValue }) {
  const carrier = parentElement.querySelector(".fv-scene");
  if (carrier) return carry(carrier, data);
  const root = parentElement.querySelector(".fv");
  if (!root || !data) return undefined;
  if (!players.has(root)) players.set(root, new Player(root));
  players.get(root).update(data, (view) => setStateValue("view", view));
  return once(root, () => { players.get(root)?.destroy(); players.delete(root); });
}

/** An element that only brings a scene takes no room on the page. */
function carry(carrier, data) {
  const box = carrier.closest('[data-testid="stElementContainer"]');
  if (box) box.style.display = "none";
  if (!data) return undefined; // another carrier brings what this panel shows
  const scene = unpack(data);
  shared.scenes.put(carrier, scene.name, () => scene);
  return once(carrier, () => shared.scenes.drop(carrier));
}
