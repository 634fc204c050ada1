/**
 * Fully connected layers in 32-bit numbers: as WebAssembly with 128-bit vectors, which is written here as
 * bytes, or as JavaScript where the browser has none.
 */

/** States of a block: unit k of state r is at k BLOCK + r, so that a vector holds one unit of 4 states. */
export const BLOCK = 48;
/** States and units of a tile of outputs, whose sums stay in registers. */
export const TILE = { states: 8, units: 4 };

// ---- an assembler: instructions are lists of bytes (WebAssembly 2.0, binary format)

/** @returns {number[]} A number in LEB128, signed numbers that are at least -64 included. */
function leb(v) {
  const bytes = [];
  for (; v > 63 || v < -64; v = Math.floor(v / 128)) bytes.push((v & 127) | 128);
  return [...bytes, v & 127];
}
const unsigned = (v) => (v < 128 ? [v] : [(v & 127) | 128, ...unsigned(v >>> 7)]);
const vector = (items) => [...unsigned(items.length), ...items.flat()];
const section = (id, content) => [id, ...unsigned(content.length), ...content];

const get = (v) => [0x20, v], set = (v) => [0x21, v], tee = (v) => [0x22, v];
const constant = (v) => [0x41, ...leb(v)], add = 0x6a, below = 0x49; // of i32
const simd = (op) => [0xfd, ...unsigned(op)];
const load = (offset) => [...simd(0x00), 2, ...unsigned(offset)];
const loadOne = (offset) => [...simd(0x09), 2, ...unsigned(offset)]; // to all four places
const store = (offset) => [...simd(0x0b), 2, ...unsigned(offset)];
const floats = (v) => [...simd(0x0c), ...new Uint8Array(Float32Array.of(v, v, v, v).buffer)];
const [plus, minus, times, divided, minimum, maximum] = [0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9].map(simd);
const shift = simd(0xab), plusInteger = simd(0xae), fused = simd(0x105);
const I32 = 0x7f, V128 = 0x7b, NONE = 0x40;
/** Repeats `body`, whose last instructions leave the condition. */
const repeat = (body) => [0x03, NONE, ...body, 0x0d, 0, 0x0b];
const body = (locals, code) => {
  const content = [...vector(locals.map(([count, type]) => [...unsigned(count), type])), ...code, 0x0b];
  return [...unsigned(content.length), ...content];
};
/** The product of two vectors and a third, which are instructions; `madd` does not round in between. */
const sumOf = (madd, a, b, c) =>
  (madd ? [...a, ...b, ...c, ...fused] : [...a, ...b, ...times, ...c, ...plus]);

/** 2^f for |f| <= 1/2: the polynomial in f with the smallest relative error of its degree, 8e-8. */
const POWER = [
  1.0000000716546822, 0.693146967064733, 0.24022119723848653, 0.05550713273543078, 0.009675541334209484,
  0.0013276471979286105,
];
/** Added to a number, it leaves its integer part in the lowest bits. */
const INTEGER = 1.5 * 2 ** 23;

/** v / (1 + exp(-v)) of a local v, where exp(-v) = 2^(i + f) with an integer i and |f| <= 1/2. */
function siluCode(madd, v, f, i) {
  const power = POWER.reduceRight((sum, c) =>
    (sum.length ? sumOf(madd, sum, get(f), floats(c)) : floats(c)), []);
  return [
    ...get(v), ...floats(-Math.LOG2E), ...times, ...floats(126), ...minimum, ...floats(-126), ...maximum,
    ...set(f), ...get(f), ...floats(INTEGER), ...plus, ...set(i),
    ...get(f), ...get(i), ...floats(INTEGER), ...minus, ...minus, ...set(f),
    ...get(v), ...power, ...get(i), ...constant(23), ...shift, ...plusInteger,
    ...floats(1), ...plus, ...divided,
  ];
}

/**
 * The code of `layer`, see `kernel`: places are addresses, n and states are bytes. With `silu` it follows.
 */
function layerCode(madd, silu) {
  const [h, weight, bias, out, n, m, states, p, q, end, row, w, f, i, x] = [...Array(15).keys()];
  const units = [...Array(TILE.units).keys()], halves = [0, 1], sum = (u, v) => x + 2 + 2 * u + v;
  const offset = (pointer, by) => [...get(pointer), ...constant(by), add];
  const tile = [
    ...units.flatMap((u) => [...get(bias), ...loadOne(4 * u), ...tee(sum(u, 0)), ...set(sum(u, 1))]),
    ...get(weight), ...set(p), ...get(h), ...get(row), add, ...tee(q), ...get(n), add, ...set(end),
    ...repeat([
      ...halves.flatMap((v) => [...get(q), ...load(16 * v), ...set(x + v)]),
      ...units.flatMap((u) => [
        ...get(p), ...loadOne(4 * u), ...set(w),
        ...halves.flatMap((v) => [...sumOf(madd, get(w), get(x + v), get(sum(u, v))), ...set(sum(u, v))]),
      ]),
      ...offset(p, 4 * TILE.units), ...set(p), ...offset(q, 4 * BLOCK), ...tee(q), ...get(end), below,
    ]),
    ...units.flatMap((u) => halves.flatMap((v) => [
      ...get(out), ...get(row), add, ...(silu ? siluCode(madd, sum(u, v), f, i) : get(sum(u, v))),
      ...store(4 * BLOCK * u + 16 * v),
    ])),
  ];
  return body([[4, I32], [5 + 2 * TILE.units, V128]], [
    ...repeat([
      ...constant(0), ...set(row),
      ...repeat([...tile, ...offset(row, 4 * TILE.states), ...tee(row), ...get(states), below]),
      ...get(p), ...set(weight),
      ...offset(bias, 4 * TILE.units), ...set(bias), ...offset(out, 4 * TILE.units * BLOCK), ...set(out),
      ...offset(m, -TILE.units), ...tee(m),
    ]),
  ]);
}

/** The module for a memory of some pages of 64 KiB. */
function moduleCode(pages, madd) {
  const name = (text) => [...unsigned(text.length), ...new TextEncoder().encode(text)];
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, vector([[0x60, 7, ...Array(7).fill(I32), 0]])),
    ...section(3, vector([[0], [0]])),
    ...section(5, vector([[0, ...unsigned(pages)]])),
    ...section(7, vector([[...name("memory"), 2, 0], [...name("hidden"), 0, 0], [...name("linear"), 0, 1]])),
    ...section(10, vector([layerCode(madd, true), layerCode(madd, false)])),
  ]);
}

/** The place of the weight of input k to output o of a layer with n inputs. */
export const weightAt = (k, o, n) => (o - (o % TILE.units)) * n + k * TILE.units + (o % TILE.units);

/**
 * The same layer in JavaScript.
 * @param {Float32Array} memory
 * @param {boolean} silu
 * @param {number[]} addresses
 */
function plain(memory, silu, addresses) {
  const [h, weight, bias, out, n, m, states] = addresses;
  const sums = new Float64Array(states);
  for (let o = 0; o < m; o++) {
    sums.fill(memory[bias + o]);
    for (let k = 0; k < n; k++) {
      const factor = memory[weight + weightAt(k, o, n)], start = h + k * BLOCK;
      for (let r = 0; r < states; r++) sums[r] += factor * memory[start + r];
    }
    for (let r = 0; r < states; r++)
      memory[out + o * BLOCK + r] = silu ? sums[r] / (1 + Math.exp(-sums[r])) : sums[r];
  }
}

/**
 * A memory of at least `size` numbers and layers in it, `hidden` with SiLU and `linear` without: functions
 * (h, weight, bias, out, n, m, states) of the places of h (n, BLOCK), weight, bias (m) and out (m, BLOCK).
 * The weight of input k to output o is at `weightAt(k, o, n)`. m and states are multiples of those of TILE.
 * @typedef {(...places: number[]) => void} Layer
 * @param {number} size
 * @param {boolean} [vectors] Whether WebAssembly may be used.
 * @returns {{memory: Float32Array, hidden: Layer, linear: Layer}}
 */
export function kernel(size, vectors = true) {
  const pages = Math.ceil(size / 16384), known = (madd) => WebAssembly.validate(moduleCode(pages, madd));
  if (!vectors || typeof WebAssembly === "undefined" || !known(false)) {
    const memory = new Float32Array(size);
    const layer = (silu) => (...places) => plain(memory, silu, places);
    return { memory, hidden: layer(true), linear: layer(false) };
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleCode(pages, known(true))));
  const { memory, hidden, linear } = /** @type {any} */ (exports);
  const layer = (run) => (h, weight, bias, out, n, m, states) =>
    run(4 * h, 4 * weight, 4 * bias, 4 * out, 4 * BLOCK * n, m, 4 * states);
  return { memory: new Float32Array(memory.buffer), hidden: layer(hidden), linear: layer(linear) };
}
