/**
 * A fully connected layer with SiLU units in 32-bit numbers: as WebAssembly with 128-bit vectors, which is
 * written here as bytes, or as JavaScript where the browser has none.
 */

/** Rows and columns of a tile of outputs, whose sums stay in registers. */
export const TILE = { rows: 4, columns: 8 };

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

const get = (v) => [0x20, v], set = (v) => [0x21, v], constant = (v) => [0x41, ...leb(v)];
const add = 0x6a, multiply = 0x6c, below = 0x49; // of i32
const simd = (op) => [0xfd, ...unsigned(op)];
const load = (offset = 0) => [...simd(0x00), 4, ...unsigned(offset)];
const loadOne = [...simd(0x09), 2, 0]; // to all four places
const store = (offset = 0) => [...simd(0x0b), 4, ...unsigned(offset)];
const bytesOf = (array) => [...new Uint8Array(array.buffer)];
const floats = (v) => [...simd(0x0c), ...bytesOf(Float32Array.of(v, v, v, v))];
const integers = (v) => [...simd(0x0c), ...bytesOf(Int32Array.of(v, v, v, v))];
const [plus, minus, times, over, least, most] = [0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9].map(simd);
const nearest = simd(0x6a), toInteger = simd(0xf8), shift = simd(0xab), plusInteger = simd(0xae);
const fused = simd(0x105);
const I32 = 0x7f, V128 = 0x7b, NONE = 0x40;
/** Repeats `body`, whose last instructions leave the condition. */
const repeat = (body) => [0x03, NONE, ...body, 0x0d, 0, 0x0b];
const body = (locals, code) => {
  const content = [...vector(locals.map(([count, type]) => [...unsigned(count), type])), ...code, 0x0b];
  return [...unsigned(content.length), ...content];
};

/** v / (1 + exp(-v)), where exp(-v) = 2^(i + f) with an integer i and |f| <= 1/2. */
function siluCode() {
  const [v, y, i] = [0, 1, 2], series = [1];
  for (let k = 1; k <= 6; k++) series.push((series[k - 1] * Math.LN2) / k);
  const power = series.reduceRight((sum, c) =>
    (sum.length ? [...sum, ...get(y), ...times, ...floats(c), ...plus] : floats(c)), []);
  return body([[2, V128]], [
    ...get(v), ...floats(-Math.LOG2E), ...times, ...floats(126), ...least, ...floats(-126), ...most,
    ...set(y), ...get(y), ...nearest, ...set(i), ...get(y), ...get(i), ...minus, ...set(y),
    ...get(v), ...power, ...get(i), ...toInteger, ...integers(127), ...plusInteger,
    ...constant(23), ...shift, ...times, ...floats(1), ...plus, ...over,
  ]);
}

/**
 * The layer, given the addresses of h (rows, n), weight (n, m), bias (m) and out (rows, m), the bytes of n
 * and of m numbers, and rows; with `madd`, products are added without rounding in between.
 */
function layerCode(madd) {
  const [h, weight, bias, out, n, m, rows, p, q, end, column, base, s, w] = [...Array(14).keys()];
  const sum = (r, c) => w + 2 + 2 * r + c, each = [...Array(TILE.rows).keys()], pair = [0, 1];
  const grow = (r, c) => (madd
    ? [...get(s), ...get(w + c), ...get(sum(r, c)), ...fused]
    : [...get(sum(r, c)), ...get(s), ...get(w + c), ...times, ...plus]).concat(set(sum(r, c)));
  const row = (r) => [
    ...get(q), ...(r ? [...get(n), ...constant(r), multiply, add] : []), ...loadOne, ...set(s),
    ...pair.flatMap((c) => grow(r, c)),
  ];
  const tile = [
    ...each.flatMap((r) => pair.flatMap((c) =>
      [...get(bias), ...get(column), add, ...load(16 * c), ...set(sum(r, c))])),
    ...get(weight), ...get(column), add, ...set(p),
    ...get(h), ...set(q), ...get(h), ...get(n), add, ...set(end),
    ...repeat([
      ...pair.flatMap((c) => [...get(p), ...load(16 * c), ...set(w + c)]), ...each.flatMap(row),
      ...get(p), ...get(m), add, ...set(p), ...get(q), ...constant(4), add, ...set(q),
      ...get(q), ...get(end), below,
    ]),
    ...each.flatMap((r) => [
      ...get(out), ...get(column), add, ...get(m), ...constant(r), multiply, add, ...set(base),
      ...pair.flatMap((c) => [...get(base), ...get(sum(r, c)), 0x10, 0, ...store(16 * c)]),
    ]),
  ];
  const advance = (pointer, by) =>
    [...get(pointer), ...get(by), ...constant(TILE.rows), multiply, add, ...set(pointer)];
  return body([[5, I32], [3 + 2 * TILE.rows, V128]], [
    ...repeat([
      ...constant(0), ...set(column),
      ...repeat([
        ...tile, ...get(column), ...constant(4 * TILE.columns), add, ...set(column),
        ...get(column), ...get(m), below,
      ]),
      ...advance(h, n), ...advance(out, m),
      ...get(rows), ...constant(-TILE.rows), add, ...set(rows), ...constant(0), ...get(rows), below,
    ]),
  ]);
}

/** The module for a memory of some pages of 64 KiB. */
function moduleCode(pages, madd) {
  const name = (text) => [...unsigned(text.length), ...new TextEncoder().encode(text)];
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, vector([[0x60, 1, V128, 1, V128], [0x60, 7, ...Array(7).fill(I32), 0]])),
    ...section(3, vector([[0], [1]])),
    ...section(5, vector([[0, ...unsigned(pages)]])),
    ...section(7, vector([[...name("memory"), 2, 0], [...name("layer"), 0, 1]])),
    ...section(10, vector([siluCode(), layerCode(madd)])),
  ]);
}

/**
 * The same layer in JavaScript, four columns at a time.
 * @param {Float32Array} memory
 * @param {number[]} places In numbers, not in bytes.
 */
function plain(memory, places) {
  const [, weight, bias, , n, m, rows] = places;
  let [h, , , out] = places;
  const silu = (v) => v / (1 + Math.exp(-v));
  for (let r = 0; r < rows; r++, h += n, out += m)
    for (let o = 0; o < m; o += 4) {
      let [a, b, c, d] = memory.subarray(bias + o, bias + o + 4);
      for (let k = 0, q = weight + o; k < n; k++, q += m) {
        const u = memory[h + k];
        a += u * memory[q];
        b += u * memory[q + 1];
        c += u * memory[q + 2];
        d += u * memory[q + 3];
      }
      memory.set([a, b, c, d].map(silu), out + o);
    }
}

/**
 * A memory of at least `size` numbers, and the layer in it: `layer(h, weight, bias, out, n, m, rows)` with
 * the places of h (rows, n), weight (n, m), bias (m) and out (rows, m). rows and m are multiples of those of
 * TILE.
 * @param {number} size
 * @param {boolean} [vectors] Whether WebAssembly may be used.
 * @returns {{memory: Float32Array, layer: (...places: number[]) => void}}
 */
export function kernel(size, vectors = true) {
  const pages = Math.ceil(size / 16384), known = (madd) => WebAssembly.validate(moduleCode(pages, madd));
  if (!vectors || typeof WebAssembly === "undefined" || !known(false)) {
    const memory = new Float32Array(size);
    return { memory, layer: (...places) => plain(memory, places) };
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleCode(pages, known(true))));
  const { memory, layer } = /** @type {any} */ (exports);
  return {
    memory: new Float32Array(memory.buffer),
    layer: (h, weight, bias, out, n, m, rows) =>
      layer(4 * h, 4 * weight, 4 * bias, 4 * out, 4 * n, 4 * m, rows),
  };
}
