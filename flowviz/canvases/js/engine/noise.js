/**
 * Start noise from a seed. Python uses PyTorch's generator, which has no short equivalent: the same seed
 * gives other, equally distributed numbers here.
 */

/** mulberry32 (T. Ettinger 2017, public domain): uniform numbers in (0, 1) from a 32-bit state. */
export function uniforms(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b1); // so that neighbouring seeds are far apart
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let v = Math.imul(state ^ (state >>> 15), state | 1);
    v ^= v + Math.imul(v ^ (v >>> 7), v | 61);
    return (((v ^ (v >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

/** n points of a standard normal distribution, (2 n), by the method of Box and Muller (1958). */
export function noise(n, seed) {
  const draw = uniforms(seed), out = new Float64Array(2 * n);
  for (let i = 0; i < 2 * n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(draw())), angle = 2 * Math.PI * draw();
    out[i] = radius * Math.cos(angle);
    out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}
