/** Schedules without a server: curves of all paths, and one that the reader shapes. */

import { coefficients } from "../engine/schedulers.js";
import { root as rootOf } from "../engine/grids.js";
import { Charts } from "./charts.js";
import { labelsOf, rewrite } from "./form.js";
import { Page } from "./page.js";
import { shapeText, shaped } from "./shape.js";

const SHOWN = ["ot", "vp", "trig", "shaped"];
const POINTS = 241;
/** The largest derivative and log-SNR that are drawn, and noise of VE beyond that of the others. */
const STEEPEST = 6, SNR = 14, NOISE = 1.6;
const CHARTS = [
  ["signal αₜ", "alpha", [0, 1]], ["noise σₜ", "sigma", [0, NOISE]],
  ["log-SNR 2 log(α/σ)", "snr", [-SNR, SNR]],
  ["dα/dt", "dAlpha", [-0.5, STEEPEST / 2]], ["dσ/dt", "dSigma", [-STEEPEST, 0.5]],
];

/** The log signal-to-noise ratio at a time. */
function snrAt(path, t) {
  const { alpha, sigma } = coefficients(path, t);
  return 2 * Math.log(alpha / sigma);
}

/** All quantities of a path, denser towards both ends. */
function courseOf(path) {
  const t = Float64Array.from({ length: POINTS }, (_, k) =>
    (path.t_max * (1 - Math.cos((Math.PI * k) / (POINTS - 1)))) / 2);
  const all = Array.from(t, (v) => coefficients(path, v)), column = (name) => all.map((c) => c[name]);
  return {
    t, alpha: column("alpha"), sigma: column("sigma"), dAlpha: column("dAlpha"), dSigma: column("dSigma"),
    snr: Array.from(t, (v) => snrAt(path, v)),
  };
}

export class Schedules extends Page {
  constructor(root, model, { shaper }) {
    super(root, model);
    this.shaper = shaper;
    this.charts = new Charts(root.querySelector(".live-charts"));
    this.link = /** @type {HTMLAnchorElement} */ (root.querySelector(".live-link"));
    this.shape = model.shaper;
    const axis = { t: "time t", "log-snr": "log-SNR" };
    this.controls = this.form([
      { name: "paths", label: "Paths", value: SHOWN, choices: labelsOf(model.paths), buttons: "many" },
      { name: "axis", label: "Horizontal axis", value: "t", choices: axis, buttons: "one" },
    ], () => this.show());
    const reshape = ({ alpha, sigma }) => {
      this.shape = { ...this.shape, alpha, sigma };
      this.show();
    };
    shaper.place.addEventListener("shape", (/** @type {any} */ { detail }) => reshape(detail));
    shaper.mount({
      data: this.shape, parentElement: shaper.place,
      setTriggerValue: (_, shape) => {
        reshape(shape);
        const now = new URLSearchParams(location.search);
        now.set("shape", shapeText(this.shape));
        rewrite(now);
      },
    });
    this.show();
  }

  show() {
    const { paths: names, axis } = this.controls.values, { paths, theme } = this.model;
    const own = { ...paths, shaped: shaped(paths.shaped, this.shape) };
    const courses = names.map((name) => ({ role: name, label: own[name].label, ...courseOf(own[name]) }));
    const overSnr = axis === "log-snr", x = overSnr
      ? { low: -SNR, high: SNR, label: "log-SNR" } : { low: 0, high: 1, label: "time t" };
    const line = (each, xs, ys) => ({ role: each.role, label: each.label, x: each[xs], y: each[ys] });
    const charts = CHARTS.map(([title, name, [low, high]]) => {
      const time = overSnr && name === "snr";
      return {
        title: time ? "time t" : title, x, y: time ? { low: 0, high: 1 } : { low, high },
        lines: courses.map((each) => line(each, overSnr ? "snr" : "t", time ? "t" : name)),
      };
    });
    charts.push({
      title: "σ against α", x: { low: 0, high: 1.02, label: "signal α" }, y: { low: 0, high: NOISE },
      lines: courses.map((each) => line(each, "alpha", "sigma")),
    });
    this.charts.show({ theme, charts, legend: courses });
    const even = names.map((name) => {
      const t = rootOf((v) => snrAt(own[name], v), 0, own[name].t_max);
      return `t = ${t.toFixed(2)} on ${own[name].label}`;
    });
    this.status.textContent = `Signal and noise are equal at ${even.join(", ")}.`;
    this.shaper.place.hidden = !names.includes("shaped");
    this.link.hidden = this.shaper.place.hidden;
    this.link.href = `compare.html?left=ot&right=shaped&shape=${shapeText(this.shape)}`;
    this.link.textContent = "Compare your own schedule with OT";
  }
}
