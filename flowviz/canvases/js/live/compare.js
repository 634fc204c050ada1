/** Compare without a server: controls, two threads that compute, and the player that shows them. */

import { unzipped } from "../base/module.js";
import { stepsWithin } from "../engine/solve.js";
import { scenes } from "../player/scenes.js";
import { labelsOf, nfeField } from "./form.js";
import { reserved } from "./guide.js";
import { Page } from "./page.js";

/** Particles of learned fields in the first picture and while a slider moves. */
const PREVIEW = 400;
/** Height in pixels that the page needs besides the planes. */
const RESERVE = 400;
const SIDES = ["left", "right"];

/** The weights of a network, from a script beside the page, which a page of file: may load, too. */
function weights(name) {
  return new Promise((done, fail) => {
    globalThis.flowvizWeights ??= new Map();
    const node = document.createElement("script");
    node.src = `weights/${name}.js`;
    node.onload = () => done(unzipped(globalThis.flowvizWeights.get(name)));
    node.onerror = () => fail(new Error(`The file weights/${name}.js is missing.`));
    document.head.append(node);
  });
}

/**
 * The controls, with the initial values of the model.
 * @returns {import("./form.js").Field[]}
 */
function fields({ data, paths, methods, initial }) {
  const own = labelsOf(paths), field = { exact: "exact", learned: "learned" };
  return [
    { name: "data", label: "Data set", value: initial.data, choices: labelsOf(data) },
    { name: "left", label: "Left path", value: initial.left, choices: own },
    { name: "right", label: "Right path", value: initial.right, choices: own },
    { name: "field", label: "Field", value: initial.field, choices: field, buttons: "one" },
    { name: "solver", label: "Solver", value: initial.solver, choices: labelsOf(methods) },
    nfeField(initial.nfe, methods, stepsWithin),
    { name: "seed", label: "Seed", value: initial.seed, min: 0, max: 99 },
    { name: "n", label: "Particles", value: initial.n, min: 100, max: 4000, step: 100 },
  ];
}

export class Compare extends Page {
  constructor(root, model, { player }) {
    super(root, model);
    this.player = player;
    this.loads = new Map();
    this.count = 0;
    this.view = this.viewOf(location.search);
    this.start(SIDES.length, fields(model));
  }

  /** The view that a link names; its names are those of the app. */
  viewOf(query) {
    const parameters = new URLSearchParams(query), view = { ...this.model.view };
    const layers = parameters.get("layers")?.split(",").filter((name) => name !== "difference");
    if (layers) view.layers = layers;
    if (parameters.get("mode") === "steps") view.mode = "steps";
    if (parameters.get("layout") === "strip") view.layout = "strip";
    const t = Number(parameters.get("t") ?? view.t);
    if (t >= 0 && t <= 1) view.t = t;
    return view;
  }

  /** The name of the network of a side if learned fields are chosen and there is one. */
  networkOf({ field, data }, path) {
    return field === "learned" ? this.model.networks[`${data}/${path}`] ?? null : null;
  }

  async load(name) {
    if (!this.loads.has(name))
      this.loads.set(name, weights(name).then((bytes) => {
        for (const thread of this.threads) thread.network(name, bytes);
      }));
    await this.loads.get(name);
  }

  /** Both sides with n particles, as tasks of the threads. */
  sidesOf({ data, solver: method, nfe, seed, ...values }, n) {
    return SIDES.map((name) => {
      const path = values[name], network = this.networkOf({ data, field: values.field }, path);
      return { data, path, network, method, nfe, seed, n };
    });
  }

  /** Shows the flows of these values; those of networks first with few particles, which is fast. */
  async compute(values, moving, superseded) {
    const sides = this.sidesOf(values, values.n), slow = sides.some(({ network }) => network);
    try {
      await Promise.all(sides.map(({ network }) => network && this.load(network)));
      if (slow && values.n > PREVIEW) await this.flows(values, this.sidesOf(values, PREVIEW));
      if (superseded()) return;
      if (!slow || !moving || values.n <= PREVIEW) await this.flows(values, sides);
      if (!superseded()) await this.paint(sides);
    } catch (error) {
      this.status.textContent = /** @type {Error} */ (error).message;
    }
  }

  async flows(values, sides) {
    this.show(values, sides, await Promise.all(sides.map((side, k) => this.threads[k].run("flow", side))));
  }

  sceneName = ({ data, path, network }) => `live/${data}/${path}/${network ?? "exact"}`;

  show(values, sides, flows) {
    const panels = sides.map((side, k) => this.panel(values, side, flows[k].result));
    this.player.mount({
      parentElement: this.player.place,
      data: {
        key: "live", scenes: sides.map(this.sceneName), learned: [null, null], learnable: false,
        initial: this.view, autoplay: this.view.t === 0, loop: false, reserve: reserved(RESERVE),
        theme: this.model.theme, payload: `live-${++this.count}`,
        panels: { frame: this.model.frame, panels },
      },
    });
    const ms = Math.round(Math.max(...flows.map((each) => each.ms))), [{ n }] = sides;
    const time = ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
    this.status.textContent = `${n.toLocaleString("en")} particles for each side, computed here in ${time}`;
    Object.assign(this.root.dataset, { computed: String(this.count), ms: String(ms) });
  }

  panel(values, side, result) {
    const { nfe, detour, off, ...arrays } = result, path = this.model.paths[side.path];
    const readout = (label, value, decimals, help, unit = "") =>
      ({ label, values: [value], decimals, unit, help });
    const readouts = [
      readout("NFE used", nfe, 0, this.model.terms.nfe),
      readout("Length ÷ displacement", detour, 3,
        "Mean length of the trajectories over the mean distance from start to end; 1 is straight."),
    ];
    if (off !== null)
      readouts.push(readout("Off the data at the end", 100 * off, 1,
        "Share of the final particles where the data has no mass.", "%"));
    const missing = values.field === "learned" && !side.network;
    return {
      ...arrays, title: path.label, role: path.kind, readouts,
      note: side.network ? "learned field" : "exact field",
      badge: missing ? "No network for this path: exact field" : "",
    };
  }

  /** Computes the scenes that the page does not have. */
  async paint(sides) {
    await Promise.all(sides.map(async (side, k) => {
      const name = this.sceneName(side);
      if (scenes.get(name)) scenes.put(SIDES[k], name, scenes.get(name));
      else if (k === 0 || name !== this.sceneName(sides[0]))
        scenes.put(SIDES[k], name, (await this.threads[k].run("scene", side)).result);
    }));
  }
}
