/** Threads of the page: one for each side. */

import script from "./worker.js?script";

export class Thread {
  /** @param {Uint8Array} model */
  constructor(model) {
    // A text: Chromium allows workers on pages of file: only without a file of their own.
    this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
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
    this.model(model);
  }

  model(model) { this.worker.postMessage({ model }); }

  path(path, entry) { this.worker.postMessage({ path, entry }); }

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

/** A thread with the model of a page and the schedule of its link. */
export function threadOf({ bytes, paths }) {
  const thread = new Thread(bytes);
  thread.path("shaped", paths.shaped);
  return thread;
}

/** Calls an asynchronous `work` with the newest argument; those that came while it was busy are skipped. */
export function newest(work) {
  let busy = false, next = null;
  return async function ask(...args) {
    next = args;
    if (busy) return;
    busy = true;
    while (next) {
      const current = next;
      next = null;
      await work(...current, () => next !== null);
    }
    busy = false;
  };
}
