/** Coefficients of a path. The formulas are those of flowviz/schedulers.py, which sends the parameters. */

/** A piecewise cubic over [0, 1], rows of 4 coefficients in rising powers, and its derivative. */
function cubic(pieces, t) {
  const count = pieces.length / 4, at = Math.min(count - 1, Math.floor(t * count)), h = t * count - at;
  const [a, b, c, d] = pieces.subarray(4 * at, 4 * at + 4);
  return [a + h * (b + h * (c + h * d)), count * (b + h * (2 * c + 3 * h * d))];
}

/** alpha, sigma and their derivatives by t. */
const FORMULAS = {
  ot({ sigma_min }, t) {
    const slope = 1 - sigma_min;
    return [t, 1 - slope * t, 1, -slope];
  },
  vp({ beta_min, beta_max }, t) {
    const s = 1 - t, beta = beta_min + s * (beta_max - beta_min), T = (s * (beta_min + beta)) / 2;
    const alpha = Math.exp(-T / 2), sigma = Math.sqrt(-Math.expm1(-T)), dAlpha = (beta * alpha) / 2;
    return [alpha, sigma, dAlpha, (-alpha * dAlpha) / sigma];
  },
  trig(_, t) {
    const rate = Math.PI / 2, sine = Math.sin(rate * t), cosine = Math.cos(rate * t);
    return [sine, cosine, rate * cosine, -rate * sine];
  },
  ve({ sigma_min, sigma_max }, t) {
    const rate = Math.log(sigma_min / sigma_max), sigma = sigma_max * Math.exp(rate * t);
    return [1, sigma, 0, rate * sigma];
  },
  shaped({ alpha_cubics, sigma_cubics }, t) {
    const [alpha, dAlpha] = cubic(alpha_cubics, t), [sigma, dSigma] = cubic(sigma_cubics, t);
    return [alpha, sigma, dAlpha, dSigma];
  },
};

/**
 * @typedef {{alpha: number, sigma: number, dAlpha: number, dSigma: number}} Coefficients
 * @param {any} path {kind, t_max, sigma_0} and the parameters of its formula.
 * @param {number} t In [0, t_max].
 * @returns {Coefficients}
 */
export function coefficients(path, t) {
  const [alpha, sigma, dAlpha, dSigma] = FORMULAS[path.kind](path, t);
  return { alpha, sigma, dAlpha, dSigma };
}

/** dAlpha sigma - alpha dSigma, positive on every path. */
export const wronskian = (c) => c.dAlpha * c.sigma - c.alpha * c.dSigma;
