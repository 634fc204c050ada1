/** The legend: colours of the shown layers, with the numbers at the ends of the ramps. */

import { element, write } from "../base/dom.js";
import { short } from "../base/numbers.js";
import { peakAt } from "./panels.js";

/**
 * Entries {text, dots?, tail?, arrow?, ramp?, ends?} of the shown layers at time t.
 * @param {import("./element.js").Player} player
 */
export function legendOf(player, t) {
  const { theme, view: { layers, mode, layout } } = player, out = [], steps = mode === "steps";
  const scenes = player.scenes.filter(Boolean), label = (name) => scenes[0].labels[name];
  const on = (name, field) => layers.includes(name) && scenes.some((scene) => scene[field]);
  const dots = player.colours, { noise } = theme.roles;
  if (layers.includes("particles"))
    out.push({ text: steps ? "particles at the last step" : "particles, noise to data", dots });
  if (layers.includes("trails"))
    out.push({ text: `${steps ? "steps" : "trajectory"} so far, from`, dots: [noise], tail: "noise" });
  if (on("density", "density")) {
    const shown = player.scenes.map((scene, i) => player.learnedOf(i) ?? scene).filter((s) => s?.density);
    out.push({
      text: [...new Set(shown.map((scene) => scene.labels.density))].join(" | "),
      ramp: theme.density,
      // Each moment of a strip has a peak of its own.
      ends: layout === "strip" ? "each peak" : shown.map((scene) => short(peakAt(scene, t))).join(" | "),
    });
  }
  if (on("field", "velocity"))
    out.push({ text: `${label("field")} (length grows with speed, saturating)`, arrow: true });
  if (on("data", "data")) out.push({ text: label("data"), dots: [theme.roles.data] });
  if (on("difference", "difference"))
    out.push({ text: label("difference"), ramp: theme.difference, ends: short(player.differencePeak) });
  return out;
}

/** Text of all entries, for a picture. */
export const legendText = (entries) => entries
  .map(({ text, tail, ends }) =>
    text.replaceAll("_t", "ₜ") + (tail ? ` ${tail}` : "") + (ends ? ` 0 to ${ends}` : ""))
  .join("   ·   ");

/** A label such as "density p_t" with its index as a subscript. */
function indexed(text) {
  const made = element("em");
  text.split(/_(\w)/).forEach((part, i) => made.append(i % 2 ? element("sub", "", part) : part));
  return made;
}

function dot(colour) {
  const made = element("i", "fv-dot");
  made.style.background = colour;
  return made;
}

function entryOf({ text, dots = [], tail, arrow, ramp, ends }) {
  const item = element("span");
  if (!tail) item.append(...[...new Set(dots)].map(dot));
  if (arrow) item.append(element("i", "fv-arrow", "↗"));
  item.append(indexed(text));
  if (tail) item.append(dot(dots[0]), element("em", "", tail));
  if (!ramp) return item;
  const bar = element("i", "fv-ramp"), end = element("b");
  bar.style.background = `linear-gradient(90deg, ${ramp.join(", ")})`;
  end.style.minWidth = `${6 * ends.split("|").length}ch`; // of its longest number, to keep line breaks
  item.append(element("em", "", "0"), bar, end);
  return item;
}

/** Shows entries in a box; only their numbers change while the clock runs. */
export function drawLegend(box, entries) {
  const shape = JSON.stringify(entries.map(({ ends: _, ...entry }) => entry));
  if (shape !== box.shape) {
    box.shape = shape;
    box.replaceChildren(...entries.map(entryOf));
  }
  const ends = entries.filter(({ ramp }) => ramp).map((entry) => entry.ends);
  box.querySelectorAll("b").forEach((node, i) => write(node, ends[i]));
}
