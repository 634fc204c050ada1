/** The exact density and field of a distribution that Python has sent. */

import { boxesTarget } from "./boxes.js";
import { mixtureTarget } from "./mixture.js";

const TARGETS = { mixture: mixtureTarget, boxes: boxesTarget };
const targets = new WeakMap();

/** The target of `data.distribution`, prepared once. */
export function targetOf(data) {
  if (!targets.has(data)) targets.set(data, TARGETS[data.distribution.kind](data.distribution));
  return targets.get(data);
}
