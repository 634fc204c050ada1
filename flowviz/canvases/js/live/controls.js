/** The controls above the player; their values are the entries of a link, named as in the app. */

import { press } from "../base/dom.js";
import { stepsWithin } from "../engine/solve.js";

const MAX_NFE = 100;

/** Values of a link: those that a control can show replace the initial ones. */
export function valuesOf(query, initial, model) {
  const given = new URLSearchParams(query), values = { ...initial };
  const known = { data: model.data, left: model.paths, right: model.paths, solver: model.methods };
  for (const [name, table] of Object.entries(known))
    if (given.get(name) in table) values[name] = given.get(name);
  if (["exact", "learned"].includes(given.get("field"))) values.field = given.get("field");
  for (const name of ["nfe", "seed", "n"])
    if (/^\d{1,4}$/.test(given.get(name))) values[name] = Number(given.get(name));
  return values;
}

/** NFE with k steps of a method. */
const cost = ({ evaluations, last }, k) => last + evaluations * (k - 1);

export class Controls {
  /**
   * @param {HTMLElement} root
   * @param {any} model
   * @param {any} values
   * @param {(values: any, moving: boolean) => void} change
   */
  constructor(root, model, values, change) {
    this.root = root;
    this.model = model;
    this.values = values;
    /** @type {(name: string) => any} */
    this.find = (name) => root.querySelector(`[name="${name}"]`);
    const labels = (table) => Object.entries(table).map(([name, { label }]) => new Option(label, name));
    this.find("data").append(...labels(model.data));
    for (const name of ["left", "right"]) this.find(name).append(...labels(model.paths));
    this.find("solver").append(...labels(model.methods));
    root.addEventListener("input", (/** @type {any} */ { target }) => {
      this.read(target);
      change(this.values, true);
    });
    root.addEventListener("change", () => change(this.values, false));
    root.addEventListener("click", (/** @type {any} */ { target }) => {
      const chosen = target.closest("[data-field]")?.dataset.field;
      if (!chosen) return;
      this.values.field = chosen;
      this.show();
      change(this.values, false);
    });
    this.show();
  }

  get method() { return this.model.methods[this.values.solver]; }

  read({ name, value }) {
    if (name === "nfe") this.values.nfe = cost(this.method, Number(value));
    else if (name === "seed" || name === "n") this.values[name] = Number(value);
    else if (name) this.values[name] = value;
    this.show();
  }

  show() {
    const { values, method } = this, most = stepsWithin(method, MAX_NFE);
    const steps = Math.min(most, stepsWithin(method, values.nfe));
    values.nfe = cost(method, steps);
    for (const name of ["data", "left", "right", "solver"]) this.find(name).value = values[name];
    Object.assign(this.find("nfe"), { min: 1, max: most, value: steps });
    for (const name of ["seed", "n"]) {
      this.find(name).value = values[name];
      values[name] = Number(this.find(name).value);
    }
    for (const name of ["nfe", "seed", "n"])
      this.root.querySelector(`output[for="live-${name}"]`).textContent = values[name].toLocaleString("en");
    this.find("nfe").setAttribute("aria-valuetext", String(values.nfe));
    for (const node of this.root.querySelectorAll("[data-field]"))
      press(node, /** @type {HTMLElement} */ (node).dataset.field === values.field);
  }
}
