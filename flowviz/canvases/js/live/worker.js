/** The thread that computes: it answers each task with a flow or a scene. */

import { decode } from "../base/wire.js";
import { flow, scene } from "../engine/flow.js";
import { unpacked } from "../engine/network.js";

const WORK = { flow, scene };

/** Takes {model} and {network, bytes}; answers {task, side, id} by {id, result, shapes, ms} or {id, error} */
export function serve(port) {
  const networks = new Map();
  let model = null;
  port.onmessage = ({ data }) => {
    if (data.model) model = decode(data.model);
    else if (data.bytes) networks.set(data.network, unpacked(decode(data.bytes)));
    else {
      const begun = performance.now();
      try {
        const result = WORK[data.task](model, networks, data.side);
        const shapes = Object.entries(result).map(([name, value]) => [name, value?.shape]);
        port.postMessage({ id: data.id, result, shapes, ms: performance.now() - begun });
      } catch (error) {
        port.postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) });
      }
    }
  };
}
