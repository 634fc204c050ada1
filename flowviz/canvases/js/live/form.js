/** The controls of a page; their values are the entries of its link, named as in the app. */

import { button, element, press } from "../base/dom.js";

/**
 * @typedef {object} Field
 * @property {string} name In the link.
 * @property {string} label
 * @property {any} value Without a link.
 * @property {Record<string, string>} [choices] Labels by value.
 * @property {"one" | "many"} [buttons] Buttons instead of a menu, of which one or many are pressed.
 * @property {number} [min] Of a slider.
 * @property {number} [max]
 * @property {number} [step]
 * @property {(values: any) => {max: number, at: number, value: (at: number) => number}} [scale] The
 *   positions of a slider whose values depend on other controls: from 1 to max, and the one of its value.
 */

/** The value of a link's parameter, or undefined if the control does not have it. */
function valueOf(/** @type {Field} */ { choices, buttons, min, max }, text) {
  if (text === null) return undefined;
  const number = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  if (!choices) return number >= min && number <= max ? number : undefined;
  if (buttons !== "many") return text in choices ? text : undefined;
  const chosen = text.split(",").filter((each) => each in choices);
  return chosen.length ? chosen : undefined;
}

export class Form {
  /**
   * @param {HTMLElement} root
   * @param {Field[]} fields
   * @param {(values: any, moving: boolean) => void} change
   */
  constructor(root, fields, change) {
    this.root = root;
    this.fields = fields;
    this.change = change;
    const parameters = new URLSearchParams(location.search);
    /** @type {any} */
    this.values = Object.fromEntries(fields.map((field) =>
      [field.name, valueOf(field, parameters.get(field.name)) ?? field.value]));
    root.append(...fields.map((field) => (field.buttons ? this.buttons(field) : this.input(field))));
    root.addEventListener("input", ({ target }) => this.read(target, true));
    root.addEventListener("change", ({ target }) => this.read(target, false));
    this.show();
  }

  buttons(field) {
    const { name, label, choices, buttons } = field, group = element("div", "live-field");
    const segment = element("div", buttons === "one" ? "segment" : "live-many");
    segment.append(...Object.entries(choices).map(([value, text]) => {
      const made = button(text, () => this.pick(field, value));
      made.dataset.value = value;
      return made;
    }));
    group.append(element("span", "", label), segment);
    group.dataset.name = name;
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", label);
    return group;
  }

  input(/** @type {Field} */ { name, label, choices, min, max, step = 1 }) {
    const made = element("label"), text = element("span", "", `${label} `), id = `live-${name}`;
    made.dataset.name = name;
    made.append(text);
    if (choices) {
      const menu = Object.assign(element("select"), { name });
      menu.append(...Object.entries(choices).map(([value, each]) => new Option(each, value)));
      made.append(menu);
    } else {
      text.append(Object.assign(element("output"), { htmlFor: id }));
      made.append(Object.assign(element("input"), { type: "range", id, name, min, max, step }));
    }
    return made;
  }

  /** One of many stays pressed. */
  pick({ name, buttons, choices }, value) {
    const now = this.values[name];
    if (buttons === "one") this.values[name] = value;
    else if (now.length > 1 || !now.includes(value))
      this.values[name] = Object.keys(choices).filter((v) => now.includes(v) !== (v === value));
    this.done(false);
  }

  read(/** @type {any} */ { name, value }, moving) {
    const field = this.fields.find((each) => each.name === name);
    if (!field) return;
    if (field.choices) this.values[name] = value;
    else this.values[name] = field.scale ? field.scale(this.values).value(Number(value)) : Number(value);
    this.done(moving);
  }

  done(moving) {
    this.show();
    if (!moving) this.remember();
    this.change({ ...this.values }, moving);
  }

  show() {
    for (const { name, choices, buttons, scale } of this.fields) {
      const group = this.root.querySelector(`[data-name="${name}"]`);
      if (buttons) {
        for (const node of group.querySelectorAll("button"))
          press(node, [this.values[name]].flat().includes(node.dataset.value));
        continue;
      }
      const input = /** @type {HTMLInputElement} */ (group.querySelector(`[name="${name}"]`));
      if (scale) {
        const { max, at, value } = scale(this.values);
        Object.assign(input, { min: 1, max, value: at });
        this.values[name] = value(at);
      } else input.value = this.values[name];
      if (choices) continue;
      if (!scale) this.values[name] = Number(input.value);
      group.querySelector("output").textContent = this.values[name].toLocaleString("en");
      input.setAttribute("aria-valuetext", String(this.values[name]));
    }
  }

  /** Writes the values into the address, where the browser allows it. */
  remember() {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(this.values)) query.set(name, String(value));
    rewrite(query);
  }
}

/** Replaces the query of the address. */
export function rewrite(query) {
  try {
    history.replaceState(null, "", `?${String(query).replaceAll("%2C", ",").replaceAll("%3D", "=")}`);
  } catch {
    // Some browsers refuse this on file:.
  }
}

const MAX_NFE = 100;

/** The slider of NFE: one position for each number of steps that a method can take. */
export function nfeField(value, methods, stepsWithin) {
  return {
    name: "nfe", label: "NFE", value, min: 1, max: MAX_NFE,
    scale({ solver, nfe }) {
      const { evaluations, last } = methods[solver], max = stepsWithin(methods[solver], MAX_NFE);
      const at = Math.min(max, stepsWithin(methods[solver], nfe));
      return { max, at, value: (k) => last + evaluations * (k - 1) };
    },
  };
}

/** Labels in menus by name. */
export const labelsOf = (table) =>
  Object.fromEntries(Object.entries(table).map(([name, { label, menu }]) => [name, menu ?? label]));
