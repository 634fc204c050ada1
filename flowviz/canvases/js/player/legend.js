/** The legend: the shown layers, with the numbers at the ends of the ramps. */

import { element, write } from "../base/dom.js";
import { short } from "../base/numbers.js";
import { densityOf, scaleOf } from "./density.js";
import { endsApart, isStepped } from "./marked.js";

/**
 * {text, tail?, ends?, keys?} of each shown layer at time t by name; keys are a colour and a name each.
 * @param {import("./element.js").Player} player
 * @returns {Object<string, {text: string, tail?: string, ends?: string, keys?: string[][]}>}
 */
export function legendOf(player, t) {
  const { layers, mode, layout } = player.view;
  const steps = player.body.panels.every((panel) => isStepped(panel, mode));
  /** @type {any} */
  const out = {};
  const scenes = player.scenes.filter(Boolean), label = (name, field) =>
    [...new Set(scenes.filter((scene) => scene[field]).map((scene) => scene.labels[name]))].join(" | ");
  const on = (name, field) => layers.includes(name) && scenes.some((scene) => scene[field]);
  if (layers.includes("particles"))
    out.particles = { text: particlesText(player.body.panels, steps) };
  if (player.marked !== null)
    out.marked = { text: markedText(player.body.panels, player.marked) };
  if (layers.includes("trails")) {
    const tail = startOf(player.body.panels);
    out.trails = { text: `${steps ? "steps" : "trajectory"} so far, from`, tail };
  }
  if (on("density", "density")) {
    const withDensity = player.scenes.map((_, i) => i).filter((i) => densityOf(player, i));
    const scales = [...new Set(withDensity.map((i) => short(scaleOf(player, i, t))))];
    out.density = {
      text: [...new Set(withDensity.map((i) => densityOf(player, i).labels.density))].join(" | "),
      ends: layout === "strip" ? "peak of each time" : scales.join(" | "),
    };
  }
  if (on("field", "velocity"))
    out.field = { text: `${label("field", "velocity")} (long: fast; faint: p_t < 1% of its peak)` };
  if (on("data", "data")) {
    const named = scenes.find((scene) => scene.class_names)?.class_names;
    out.data = {
      text: label("data", "data"),
      keys: named?.map(([index, name]) => [player.theme.classes[index], name]),
    };
  }
  if (on("difference", "difference"))
    out.difference = { text: label("difference", "difference"), ends: short(player.differencePeak) };
  return out;
}

/** What particles are at t = 0; payloads of the site do not name it. */
const startOf = (panels) => panels[0].start ?? "noise";

function particlesText(panels, steps) {
  const time = steps ? " at the last step" : "";
  if (panels[0].origins) return `particles${time}, coloured by the direction of their start from the centre`;
  return time ? `particles${time}` : `particles, ${startOf(panels)} to data`;
}

function markedText(panels, particle) {
  if (panels.length < 2) return "one particle";
  const apart = short(endsApart(panels, particle));
  return panels.length === 2 ? `one particle; its ends in the two panels are ${apart} apart`
    : `one particle; its ends in the panels are up to ${apart} apart`;
}

/** The legend as one text, for a picture. */
export const legendText = (entries) => Object.values(entries)
  .map(({ text, tail, ends, keys }) =>
    text.replaceAll("_t", "ₜ") + (tail ? ` ${tail}` : "") + (ends ? ` 0 to ${ends}` : "") +
    (keys ? ` (${keys.map(([, name]) => name).join(", ")})` : ""))
  .join("   ·   ");

/** Shows entries in the items of the legend; "_" in a text begins a subscript of one letter. */
export function drawLegend(items, entries) {
  for (const item of items) {
    const { text, tail, ends = "", keys } = entries[item.dataset.entry] ?? {};
    item.hidden = text === undefined;
    if (item.hidden) continue;
    if (tail !== undefined) write(item.lastElementChild, tail);
    const label = item.querySelector("em"), end = item.querySelector("b");
    if (label.text !== text) {
      label.text = text;
      const parts = text.split(/_(\w)/);
      label.replaceChildren(...parts.map((part, i) => (i % 2 ? element("sub", "", part) : part)));
    }
    if (item.dataset.entry === "data") drawKeys(item, keys ?? []);
    if (!end) continue;
    end.style.minWidth = `${6 * ends.split("|").length}ch`; // of its longest number, to keep line breaks
    write(end, ends);
  }
}

/** The classes of the data after the text, each with its colour, in the place of the one colour of data. */
function drawKeys(item, keys) {
  const shown = JSON.stringify(keys);
  if (item.keys === shown) return;
  item.keys = shown;
  const [dot, text] = item.children;
  dot.hidden = keys.length > 0;
  item.replaceChildren(dot, text, ...keys.flatMap(([colour, name]) => {
    const key = element("i", "dot");
    key.style.background = colour;
    return [key, element("em", "", name)];
  }));
}

/** A dot of each colour, for the entry of the particles. */
export const dots = (colours) => [...new Set(colours)].map((colour) => {
  const dot = element("i", "dot");
  dot.style.background = colour;
  return dot;
});
