/** The fields of a model: the data sets, paths, methods and networks that Python has sent. */

import { networkField } from "./network.js";
import { coefficients } from "./schedulers.js";
import { targetOf } from "./target.js";

/** The exact field of a data set on a path. */
export function exactField(data, path) {
  const target = targetOf(data);
  return { path, velocity: (t, x, out) => target.velocity(coefficients(path, t), x, out) };
}

/** The field of a network that was trained on a path. */
export const learnedField = (network, path) => ({ path, velocity: networkField(network, path) });
