/** Particles while a control of the page moves: reads the controls, computes, hands them to the player. */

import { decode } from "../base/wire.js";
import { live, preview } from "../player/live.js";
import { hold } from "./held.js";
import { Thread, newest } from "./threads.js";

/** Milliseconds after the last event in which a control may change. */
const WATCH = 1000;
/** Milliseconds that a computation may take: with fewer particles if all take longer. */
const BUDGET = 100;
/**
 * Milliseconds without a movement after which all are computed, if that takes less than PATIENCE and the
 * control is still held. Once it is released the server computes, which needs the processor.
 */
const REST = 200, PATIENCE = 1500;
/** The smallest number of particles, and the factor of all numbers, see engine/noise.js. */
const FEWEST = 200, FACTOR = 8;
/** Particles of the first computations, which make the browser compile the engine and show its speed. */
const TRIAL = 200;
const EVENTS = ["pointerdown", "pointerup", "pointercancel", "keydown", "input", "click"];

/** The read-outs that the engine computes, by their labels (flowviz/studies/_player.py). */
const NUMBERS = {
  "NFE used": ({ nfe }) => nfe,
  "Length ÷ displacement": ({ detour }) => detour,
  "Off the data at the end": ({ off }) => 100 * off,
};

const same = (a, b) => a.seed === b.seed && a.sides.every(({ method, nfe }, k) =>
  method === b.sides[k].method && nfe === b.sides[k].nfe);

/** The selector of all controls that are followed. */
const anyOf = ({ seed, sides }) => [seed, ...sides.flatMap(Object.values)].join();

/** The largest NFE of a side. */
const maxNfe = ({ sides }) => Math.max(...sides.map(({ nfe }) => nfe));

/** @returns {HTMLInputElement | null} */
const inputOf = (control) => document.querySelector(`${control} input`);

/** A panel of the server with other particles; a read-out that only the server computes is a dash. */
function withParticles(panel, { nfe, detour, off, ...arrays }, all) {
  const numbers = { nfe, detour, off }, n = arrays.states.shape[1];
  const readouts = panel.readouts.map((readout) =>
    ({ ...readout, values: [NUMBERS[readout.label]?.(numbers) ?? null] }));
  return { ...panel, ...arrays, readouts, note: n < all ? `${panel.note}, ${n} particles` : panel.note };
}

export class Preview {
  constructor() {
    this.threads = [];
    this.requested = null;
    this.pressed = false;
    this.until = this.frame = 0;
    this.ask = newest((...args) => this.compute(...args));
    this.listen = new AbortController();
    const options = { capture: true, passive: true, signal: this.listen.signal };
    for (const name of EVENTS) document.addEventListener(name, (event) => this.wake(event), options);
    document.addEventListener("pointerover", ({ target }) => this.prepare(target), options);
    live.preview = this;
  }

  /** @param {Uint8Array} bytes The model of flowviz/ui/live.py. */
  show(bytes) {
    const model = decode(bytes);
    if (model.name === this.model?.name) return;
    this.model = model;
    this.bytes = bytes;
    this.requested = null;
    /** Milliseconds of one evaluation at one particle. */
    this.rate = NaN;
    for (const thread of this.threads) thread.model(bytes);
  }

  end() {
    this.listen.abort();
    cancelAnimationFrame(this.frame);
    for (const thread of this.threads) thread.end();
    if (live.preview === this) live.preview = null;
  }

  /** The player while it is on the page and shows what the model computes. */
  get player() {
    const { player } = live;
    return player?.root.isConnected && player.data.live?.model === this.model.name ? player : null;
  }

  /** Seed, and method and NFE of each side, in the controls; null if the engine does not have a method. */
  read({ controls, ...served }) {
    const text = inputOf(controls.seed)?.value;
    const seed = text === undefined ? served.seed : /^\d{1,10}$/.test(text) ? Number(text) : NaN;
    const sides = served.sides.map((side, k) => this.readSide(controls.sides[k], side));
    return seed >= 0 && sides.every(Boolean) ? { seed, sides } : null;
  }

  readSide(controls, side) {
    const label = inputOf(controls.method)?.value;
    const known = Object.entries(this.model.methods).find(([, each]) => each.menu === label);
    const method = known ? known[0] : label === undefined ? side.method : null;
    const nfe = Number(inputOf(controls.nfe)?.getAttribute("aria-valuetext") ?? side.nfe);
    return method in this.model.methods && nfe >= 1 ? { method, nfe } : null;
  }

  /** Whether a control that moves now is elsewhere than the server's result `served`. */
  isAhead(served) {
    if (!this.player || (!this.pressed && performance.now() > this.until)) return false;
    const values = this.read(served);
    return Boolean(values) && !same(values, served);
  }

  /** Starts the threads when the pointer approaches a control. */
  prepare(target) {
    const controls = this.player?.data.live.controls;
    if (controls && target.closest?.(anyOf(controls))) this.start();
  }

  start() {
    if (this.threads.length) return;
    this.threads = this.model.sides.map(() => new Thread(this.bytes));
    const { seed, sides } = this.player.data.live;
    if (!sides.every(({ method }) => method in this.model.methods)) return;
    const run = () => this.flows({ seed, sides }, TRIAL);
    run().then(run).catch(() => {}); // the first run is slow, since it compiles
  }

  wake({ type, target }) {
    if (type.startsWith("pointer")) this.pressed = type === "pointerdown";
    const { player } = this;
    if (!player) return;
    if (type.startsWith("pointer"))
      hold(this.pressed ? target.closest(anyOf(player.data.live.controls)) : null, player.root);
    this.until = performance.now() + WATCH;
    this.frame ||= requestAnimationFrame(() => this.look());
  }

  /** Compares the controls with what is shown, on each frame while they may change. */
  look() {
    this.frame = 0;
    const { player } = this;
    if (!player) return;
    const served = player.data.live, values = this.read(served);
    if (values && same(values, served)) {
      this.requested = null;
      if (player.previewed) preview(player, null);
    } else if (values && !(this.requested && same(this.requested, values))) {
      this.requested = values;
      this.start();
      this.ask(values);
    }
    if (this.pressed || performance.now() < this.until) this.frame = requestAnimationFrame(() => this.look());
  }

  /** As many particles as can be computed in time. */
  count(values) {
    const { n } = this.model;
    const affordable = Math.floor(BUDGET / (this.rate * maxNfe(values)) / FACTOR) * FACTOR;
    return Math.min(n, Math.max(FEWEST, affordable || FEWEST));
  }

  /** The flows of all sides. */
  async flows(values, n) {
    const all = this.model.sides.map((side, k) =>
      this.threads[k].run("flow", { ...side, ...values.sides[k], seed: values.seed, n }));
    const flows = await Promise.all(all);
    this.rate = Math.max(...flows.map(({ ms, result }) => ms / (n * result.nfe)));
    return flows;
  }

  async compute(values, superseded) {
    const { n } = this.model, count = this.count(values);
    try {
      await this.present(values, count);
      if (count === n || this.rate * n * maxNfe(values) > PATIENCE) return;
      await new Promise((done) => setTimeout(done, REST));
      if (this.pressed && !superseded()) await this.present(values, n);
    } catch {
      this.requested = null; // it diverged: the server states why
    }
  }

  /** Shows n particles of these values, unless the server has shown the newest values by then. */
  async present(values, n) {
    const { model } = this, flows = await this.flows(values, n), { player } = this;
    const current = player && model === this.model && this.read(player.data.live);
    if (!current || same(current, player.data.live)) return;
    preview(player, player.served.panels.map((panel, k) => withParticles(panel, flows[k].result, model.n)));
  }
}
