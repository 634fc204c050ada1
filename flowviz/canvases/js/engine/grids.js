/** Times of the steps; see flowviz/grids.py. */

import { coefficients } from "./schedulers.js";
import { evenGrid } from "./solve.js";

/** The largest sigma / alpha of grids in this ratio, the exponent of EDM's, and the factor of a shift. */
const NOISIEST = 80, RHO = 7, SHIFT = 3;

/** The time at which an increasing function of time is 0, in [low, high]; else the nearer end. */
export function root(f, low, high) {
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle; else high = middle;
  }
  return (low + high) / 2;
}

/** alpha / sigma at a time. */
const ratio = (path, t) => {
  const { alpha, sigma } = coefficients(path, t);
  return alpha / sigma;
};

/** Times at which alpha / sigma is `ratioAt(first, last, share)`, given its values at both ends. */
const byRatio = (ratioAt) => (path, share) => {
  const target = ratioAt(Math.max(ratio(path, 0), 1 / NOISIEST), ratio(path, path.t_max), share);
  return root((t) => ratio(path, t) - target, 0, path.t_max);
};
const bent = (v) => v ** (-1 / RHO);

const TIMES_OF = {
  "log-snr": byRatio((first, last, share) => first * (last / first) ** share),
  edm: byRatio((first, last, share) => (bent(first) + share * (bent(last) - bent(first))) ** -RHO),
  shift: (path, share) => path.t_max * (1 - (SHIFT * (1 - share)) / (1 + (SHIFT - 1) * (1 - share))),
};

/** steps + 1 times from 0 to the end of a path, by the name of the grid. */
export function gridOf(path, steps, name = "uniform") {
  const times = evenGrid(path, steps);
  if (name in TIMES_OF) for (let k = 1; k < steps; k++) times[k] = TIMES_OF[name](path, k / steps);
  return times;
}
