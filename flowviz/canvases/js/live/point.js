/** Vector field without a server: the controls above the canvas of a point, whose data are made here. */

import { dequantised } from "../base/wire.js";
import { coefficients } from "../engine/schedulers.js";
import { evenGrid } from "../engine/solve.js";
import { labelsOf, rewrite } from "./form.js";
import { reserved } from "./guide.js";
import { Page } from "./page.js";

/** Rows of the table of coefficients, as in flowviz/experiments/posterior.py. */
const ROWS = 501;
/** Height in pixels that the page needs besides the plane. */
const RESERVE = 340;
/** Colours of the density's ramp that are used: lines and points must be visible on the darkest. */
const STOPS = 4;
const COUNTS = [20, 100, 500, 1_000, 2_000];
const LAYERS = ["paths", "arrows", "density"];

/** The names of one part and of several. */
function wordsOf({ kind, covariances }) {
  if (kind === "boxes") return { part: "box", parts: "boxes" };
  const word = covariances.some(Boolean) ? "Gaussian" : "point";
  return { part: word, parts: `${word}s` };
}

/** The coefficients of a path over time, and a typical length of a conditional velocity. */
function tableOf(path, points) {
  const times = evenGrid(path, ROWS - 1), all = Array.from(times, (t) => coefficients(path, t));
  const column = (name) => Float64Array.from(all, (c) => c[name]);
  const square = points.reduce((sum, v) => sum + v * v, 0) / (points.length / 2);
  return {
    times, alpha: column("alpha"), sigma: column("sigma"), dAlpha: column("dAlpha"), dSigma: column("dSigma"),
    speed: Float64Array.from(all, (c) => Math.hypot(c.dAlpha * Math.sqrt(square), c.dSigma * Math.SQRT2)),
  };
}

/** The view that a link names, with the default of the app. */
function viewOf(query, frame) {
  const number = (name, value, low, high) => {
    const parsed = query.has(name) ? Number(query.get(name)) : value;
    return parsed >= low && parsed <= high ? parsed : value;
  };
  const [t, x, y] = [number("t", 0.6, 0, 1), number("x", 2.2, -frame, frame), number("y", 1, -frame, frame)];
  const layers = query.get("layers")?.split(",").filter((name) => LAYERS.includes(name));
  return { t, x, y, layers: layers ?? LAYERS };
}

export class Point extends Page {
  constructor(root, model, { touch }) {
    super(root, model);
    this.touch = touch;
    const over = { points: "points", parts: "parts" };
    const counts = Object.fromEntries(COUNTS.map((n) => [n, String(n)]));
    const form = this.form([
      { name: "data", label: "Data set", value: model.initial.data, choices: labelsOf(model.data) },
      { name: "path", label: "Path", value: "ot", choices: labelsOf(model.paths) },
      { name: "over", label: "Posterior over", value: "points", choices: over, buttons: "one" },
      { name: "n", label: "Points", value: "1000", choices: counts },
    ], (values) => this.show(values));
    this.initial = viewOf(new URLSearchParams(location.search), model.frame);
    this.show(form.values);
  }

  show({ data: name, path: spec, over, n }) {
    const { model } = this, data = model.data[name], path = model.paths[spec];
    const points = Float64Array.from(dequantised(data.sample.subarray(0, 2 * n), data.limit));
    const { distribution } = data, theme = {};
    for (const [mode, { roles, density, ...own }] of Object.entries(model.theme))
      theme[mode] = { ...own, ...roles, role: roles[path.kind], density: density.slice(0, STOPS) };
    this.touch.mount({
      parentElement: this.touch.place, setStateValue: (_, view) => this.remember(view),
      data: {
        key: "why", initial: this.initial, points, distribution, ...tableOf(path, points), over, theme,
        path: path.label, words: wordsOf(distribution), frame: model.frame, reserve: reserved(RESERVE),
      },
    });
  }

  remember({ t, x, y, layers }) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries({ t, x, y }))
      query.set(name, String(Number(value.toFixed(3))));
    query.set("layers", layers.join());
    rewrite(query);
  }
}
