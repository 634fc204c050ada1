/** Start noise from a seed: the numbers of flowviz/draws.py, by PyTorch's generator on the processor. */

const WORDS = 624, LAG = 397;
/** PyTorch transforms uniform numbers in blocks of this size. */
const BLOCK = 16;

const fraction = (v) => ((v - Math.floor(v)) * 2 ** 32) >>> 0;
const PRIMES = [...Array(312).keys()].slice(2)
  .filter((p) => [2, 3, 5, 7, 11, 13, 17].every((q) => p === q || p % q));
/** The constants of SHA-256: fractional parts of cube roots of the first 64 primes. */
const ROUNDS = Uint32Array.from(PRIMES.slice(0, 64), (p) => fraction(Math.cbrt(p)));
const turn = (v, by) => (v >>> by) | (v << (32 - by));

/** The first two words of the SHA-256 of a short text (FIPS 180-4); `crypto.subtle` needs HTTPS. */
export function sha256(text) {
  const bytes = new TextEncoder().encode(text), w = new Uint32Array(64);
  if (bytes.length > 55) throw new Error("The text must have at most 55 bytes.");
  bytes.forEach((byte, i) => { w[i >> 2] |= byte << (24 - 8 * (i & 3)); });
  w[bytes.length >> 2] |= 0x80 << (24 - 8 * (bytes.length & 3));
  w[15] = 8 * bytes.length;
  for (let i = 16; i < 64; i++) {
    const a = w[i - 15], b = w[i - 2], near = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3);
    w[i] = w[i - 16] + w[i - 7] + near + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10));
  }
  const start = PRIMES.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
  let [a, b, c, d, e, f, g, h] = start;
  for (let i = 0; i < 64; i++) {
    const one = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i];
    const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    [a, b, c, d, e, f, g, h] = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
  }
  return [(start[0] + a) >>> 0, (start[1] + b) >>> 0];
}

/** MT19937 (Matsumoto and Nishimura 1998): numbers of 32 bits from a seed of 32 bits. */
export function mersenne(seed) {
  const state = new Uint32Array(WORDS);
  state[0] = seed;
  for (let i = 1; i < WORDS; i++)
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = WORDS;
  const refill = () => {
    for (let i = 0; i < WORDS; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % WORDS] & 0x7fffffff);
      state[i] = state[(i + LAG) % WORDS] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === WORDS) refill();
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/**
 * n points of a standard normal distribution, (2 n), by the method of Box and Muller (1958). Those of Python
 * are rounded to 32 bits.
 * @param {number} n A multiple of 8: PyTorch draws other numbers at the end of an incomplete block.
 * @param {number} seed
 */
export function noise(n, seed) {
  const [high, low] = sha256(`${seed}/noise`); // the seed is the number of the first 7 bytes
  const draw = mersenne(((high & 0xff) << 24) | (low >>> 8));
  const out = Float64Array.from({ length: Math.ceil((2 * n) / BLOCK) * BLOCK }, () =>
    (draw() & 0xffffff) / 2 ** 24);
  for (let start = 0; start < out.length; start += BLOCK)
    for (let i = start; i < start + BLOCK / 2; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[i])), angle = 2 * Math.PI * out[i + BLOCK / 2];
      out[i] = radius * Math.cos(angle);
      out[i + BLOCK / 2] = radius * Math.sin(angle);
    }
  return out.subarray(0, 2 * n);
}
