/** The fields of a model: the data sets, paths, methods and networks that Python has sent. */

import { boxesTarget } from "./boxes.js";
import { mixtureTarget } from "./mixture.js";
import { networkField } from "./network.js";
import { coefficients } from "./schedulers.js";

const TARGETS = { mixture: mixtureTarget, boxes: boxesTarget };
const targets = new WeakMap();

/** The exact density and field of a data set, prepared once. */
export function targetOf(data) {
  if (!targets.has(data)) targets.set(data, TARGETS[data.distribution.kind](data.distribution));
  return targets.get(data);
}

/** The exact field of a data set on a path. */
export function exactField(data, path) {
  const target = targetOf(data);
  return { path, velocity: (t, x, out) => target.velocity(coefficients(path, t), x, out) };
}

/** The field of a network that was trained on a path. */
export const learnedField = (network, path) => ({ path, velocity: networkField(network, path) });
