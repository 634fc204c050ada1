/** NFE and quality without a server: the error of samples of exact fields against their cost. */

import { stepsWithin } from "../engine/solve.js";
import { Charts } from "./charts.js";
import { labelsOf } from "./form.js";
import { Page } from "./page.js";

const NFES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4], [5, 7]];
/** The error at which the cost of paths is compared, as in flowviz/experiments/solver_curves.py. */
const LEVEL = 0.01;
/** Curves of an error end here, where that of the reference begins. */
const LEAST = 1e-7;
const MAX_THREADS = 4;
const USUAL = ["euler", "midpoint", "dpmpp-2m"];
const MEASURES = { energy: "Energy distance to the data", "off-support": "Share of particles off the data" };
const GRIDS = { uniform: "even in t", "log-snr": "even in log(α/σ)", edm: "EDM’s", shift: "shifted by 3" };

/** The NFE at which a curve falls to the level, interpolated between logarithms; null if it does not. */
function nfeAt({ x, y }, level) {
  const k = y.findIndex((v) => v <= level);
  if (k <= 0) return k === 0 ? x[0] : null;
  const share = Math.log(y[k - 1] / level) / Math.log(y[k - 1] / y[k]);
  return Math.exp(Math.log(x[k - 1]) + share * Math.log(x[k] / x[k - 1]));
}

/** The smallest and largest decades of the positive values, in bounds. */
function decades(values, min, max) {
  const positive = values.filter((v) => v > 0 && Number.isFinite(v));
  const power = (v, round) => 10 ** round(Math.log10(v));
  if (!positive.length) return { low: min, high: max, log: true };
  const low = Math.max(min, power(Math.min(...positive), Math.floor));
  return { low, high: Math.max(10 * low, Math.min(max, power(Math.max(...positive), Math.ceil))), log: true };
}

export class Cost extends Page {
  constructor(root, model) {
    super(root, model);
    this.charts = new Charts(root.querySelector(".live-charts"));
    const paths = labelsOf(model.paths), solvers = labelsOf(model.methods);
    this.start(Math.min(MAX_THREADS, navigator.hardwareConcurrency || 2), [
      { name: "data", label: "Data set", value: model.initial.data, choices: labelsOf(model.data) },
      { name: "grid", label: "Time grid", value: "uniform", choices: GRIDS },
      { name: "measure", label: "Quality", value: "energy", choices: MEASURES },
      { name: "n", label: "Particles", value: 600, min: 200, max: 2000, step: 200 },
      { name: "seed", label: "Seed", value: 0, min: 0, max: 99 },
      { name: "paths", label: "Paths", value: ["ot", "vp"], choices: paths, buttons: "many" },
      { name: "solvers", label: "Solvers", value: USUAL, choices: solvers, buttons: "many" },
    ]);
  }

  /** Computes all curves, budget by budget, until other values are wanted. */
  async compute(values, _moving, superseded) {
    const { model } = this, { data, grid, n, seed, paths, solvers } = values;
    const began = performance.now();
    const curves = solvers.flatMap((method, s) => paths.map((path) => ({
      path, method, role: path, dash: DASHES[s % DASHES.length],
      x: [], error: [], energy: [], "off-support": [],
      label: `${model.paths[path].label}, ${model.methods[method].label}`,
    })));
    for (const nfe of NFES) {
      await Promise.all(curves.map(async (curve, k) => {
        const { path, method } = curve, { last, evaluations } = model.methods[method];
        const actual = last + evaluations * (stepsWithin(model.methods[method], nfe) - 1);
        if (actual > nfe || curve.x.at(-1) === actual) return;
        const thread = this.threads[k % this.threads.length]; // the same one, which remembers the exact ends
        const { result } = await thread.run("quality", { data, path, method, nfe, grid, n, seed });
        curve.x.push(result.nfe);
        for (const name of ["error", ...Object.keys(MEASURES)]) curve[name].push(result[name]);
      }));
      if (superseded()) return;
      this.show(values, curves);
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    this.status.textContent = `${this.finding(curves, values)} Computed here in ${seconds} s.`;
    this.root.dataset.computed = String(1 + Number(this.root.dataset.computed ?? 0));
  }

  show({ measure, paths, solvers }, curves) {
    const { model } = this, x = { low: 1, high: 100, log: true, label: "NFE" };
    const bounded = curves.some((each) => each["off-support"].some((v) => v !== null));
    const name = bounded ? measure : "energy";
    const chart = (title, quantity, min, max) => {
      const lines = curves.map((each) => ({ ...each, y: each[quantity], dots: true }));
      return { title, x, y: decades(lines.flatMap(({ y }) => y), min, max), lines };
    };
    this.charts.show({
      theme: model.theme,
      charts: [
        chart("Squared error per dimension", "error", LEAST, 100),
        chart(MEASURES[name], name, 1e-4, 10),
      ],
      legend: [
        ...paths.map((path) => ({ label: model.paths[path].label, role: path })),
        ...solvers.map((solver, k) =>
          ({ label: model.methods[solver].label, dash: DASHES[k % DASHES.length] })),
      ],
    });
    this.status.textContent = "Computing …";
  }

  /** The cost of OT and of VP at equal error, for each solver. */
  finding(curves, { solvers }) {
    const cost = (solver, path) => {
      const curve = curves.find((each) => each.method === solver && each.path === path);
      return curve ? nfeAt({ x: curve.x, y: curve.error }, LEVEL) : null;
    };
    const texts = solvers.map((solver) => [solver, cost(solver, "ot"), cost(solver, "vp")])
      .filter(([, ot, vp]) => ot && vp)
      .map(([solver, ot, vp]) => `${this.model.methods[solver].label} ${Math.round((100 * ot) / vp)}% ` +
        `(${ot.toFixed(1)} against ${vp.toFixed(1)})`);
    if (!texts.length) return "";
    return `At equal squared error (${LEVEL}) conditional OT needs this share of the evaluations of VP ` +
      `diffusion: ${texts.join("; ")}.`;
  }
}
