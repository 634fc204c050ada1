/**
 * The thread that computes. It takes {model}, {network, bytes} and {path, entry}, and answers each task
 * {task, side, id} by {id, result, shapes, ms} or {id, error}.
 */

import { decode } from "../base/wire.js";
import { flow, scene } from "../engine/flow.js";
import { unpacked } from "../engine/network.js";
import { quality } from "../engine/quality.js";

const WORK = { flow, scene, quality }, networks = new Map();
let model = null;

function answer({ task, side, id }) {
  const begun = performance.now();
  try {
    const result = WORK[task](model, networks, side);
    const shapes = Object.entries(result).map(([name, value]) => [name, value?.shape]);
    return { id, result, shapes, ms: performance.now() - begun };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

globalThis.onmessage = ({ data }) => {
  if (data.task) globalThis.postMessage(answer(data));
  else if (data.entry) model.paths[data.path] = data.entry;
  else if (data.bytes) networks.set(data.network, unpacked(decode(data.bytes)));
  else {
    model = decode(data.model);
    for (const [name, network] of Object.entries(model.weights ?? {})) networks.set(name, unpacked(network));
  }
};
