/** Threads of the page: one for each side, which computes the newest request and skips older ones. */

/**
 * A worker that runs the script of this module, see js/live.js. Chromium allows workers on pages of file:
 * only if they are not modules, so that the statement that exports is left out.
 */
function threadOf(script) {
  const plain = script.replace(/export\s*\{[^{}]*\};?\s*$/, "");
  return new Worker(URL.createObjectURL(new Blob([plain], { type: "text/javascript" })));
}

export class Thread {
  /**
   * @param {string} script
   * @param {Uint8Array} model
   */
  constructor(script, model) {
    this.worker = threadOf(script);
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data }) => {
      const { done, fail } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      // Messages carry arrays without the property that the player reads.
      for (const [name, shape] of data.shapes ?? []) if (shape) Object.assign(data.result[name], { shape });
      if (data.error) fail(new Error(data.error)); else done(data);
    };
    this.worker.onerror = (event) => {
      for (const { fail } of this.waiting.values()) fail(new Error(event.message || "The thread failed."));
      this.waiting.clear();
    };
    this.worker.postMessage({ model });
  }

  network(name, bytes) { this.worker.postMessage({ network: name, bytes }); }

  /** @returns {Promise<{result: any, ms: number}>} */
  run(task, side) {
    const id = ++this.count;
    return new Promise((done, fail) => {
      this.waiting.set(id, { done, fail });
      this.worker.postMessage({ task, side, id });
    });
  }

  end() { this.worker.terminate(); }
}

/** Calls an asynchronous `work` with the newest argument; those that came while it was busy are skipped. */
export function newest(work) {
  let busy = false, next = null;
  return async function ask(...given) {
    next = given;
    if (busy) return;
    busy = true;
    while (next) {
      const own = next;
      next = null;
      await work(...own, () => next !== null);
    }
    busy = false;
  };
}
