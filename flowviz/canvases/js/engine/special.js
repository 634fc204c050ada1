/** Special functions of the exact fields. */

/**
 * Coefficients of erfcx(z) / t, where t = 2 / (2 + z), in rising powers of 2 t - 1: the Chebyshev series
 * of degree 23 as a polynomial, computed with scipy.special.erfcx; the relative error is below 3e-14.
 */
const SERIES = [
  5.1079135262101538e-1, 3.4358034220689471e-1, 1.3973604627787767e-1,
  1.8221115754451855e-2, -1.0755330938425751e-2, -3.2395925613982186e-3,
  1.5453059149031396e-3, 4.1864836124254633e-4, -3.3153565010906060e-4,
  -1.7187887143244055e-5, 7.2229082186581219e-5, -1.7065760788881339e-5,
  -1.0825275519721352e-5, 8.0381264979223512e-6, -6.1770795696247686e-7,
  -1.7842859961092474e-6, 1.0904699138336587e-6, -4.2455212678760383e-8,
  -3.8485295590362526e-7, 1.9159633666276942e-7, 7.2034526965580923e-8,
  -6.8644294515252137e-8, -6.0885213315486971e-9, 9.6624717116355962e-9,
];

/** exp(z^2) erfc(z) for z >= 0. */
export function erfcx(z) {
  const t = 2 / (2 + z), u = 2 * t - 1;
  let sum = 0;
  for (let k = SERIES.length - 1; k >= 0; k--) sum = sum * u + SERIES[k];
  return t * sum;
}

/** Entries of the table for each factor of 2. */
const FINE = 64;
const PER_ENTRY = Math.LN2 / FINE, ENTRIES = FINE / Math.LN2;
/** Below this, `expBelow` is 0: a term below 5e-18 does not change a sum whose largest term is 1. */
export const LEAST = -40;
const TABLE = Float64Array.from({ length: Math.ceil(-LEAST / PER_ENTRY) + 2 }, (_, n) => 2 ** (-n / FINE));

/** exp(v) for v <= 0 with a relative error of 4e-14, several times faster than Math.exp; 0 below LEAST. */
export function expBelow(v) {
  if (v < LEAST) return 0;
  const n = (0.5 - v * ENTRIES) | 0, r = v + n * PER_ENTRY;
  return TABLE[n] * (1 + r * (1 + r * (0.5 + r * (1 / 6 + r / 24))));
}
