/** The player: panels under one clock, their layers and all controls. */

import { drawAxes } from "../base/axes.js";
import { Clocked } from "../base/canvas.js";
import { SPEEDS, aligned } from "../base/clock.js";
import { pixel, ramp, rgb } from "../base/colour.js";
import { density, hasOwnKeys, isPressed, onKey, press, save, write } from "../base/dom.js";
import { clamp } from "../base/numbers.js";
import { decode } from "../base/wire.js";
import { rootOf } from "./density.js";
import { zoomed } from "./geometry.js";
import { belongsToLecture, keyMeaning, repeats } from "./keys.js";
import { LAYERS, paint } from "./layers.js";
import { dots, drawLegend, legendOf } from "./legend.js";
import { take } from "./live.js";
import { nearest } from "./marked.js";
import { originPixels } from "./origin.js";
import { FRAMES, fillCell, makeCell, showCell } from "./panels.js";
import { picture } from "./picture.js";
import { surface } from "./pixels.js";
import { bindPlane } from "./plane.js";
import { Resolution } from "./resolution.js";
import { scenes } from "./scenes.js";
import { drawTicks } from "./ticks.js";

/** The entry of a scene that a layer draws. */
const NEEDS = { density: "density", field: "velocity", data: "data", difference: "difference" };
/** Margins of the axes in CSS pixels, as in player.css. */
const EDGE = { left: 28, top: 1 };
/** Up to this number of particles, each is drawn larger. */
const FEW = 24;
/** Milliseconds between changes of the numbers during a movement: each costs the browser a layout. */
const TEXT_INTERVAL = 90;
/** Milliseconds at t = 1 before a loop begins again. */
const LOOP_PAUSE = 1500;

/** Players of the page: if nothing has the focus, keys go to the first. */
const players = new Set();

export class Player extends Clocked {
  constructor(root) {
    super(root);
    /** @type {any} */
    this.view = { layers: [], density: "exact", mode: "smooth", layout: "panels", scale: "shared" };
    /** @type {any} */
    this.body = null;
    this.cells = [];
    this.scenes = [];
    this.learned = [];
    this.marked = null;
    this.pictures = this.textTime = this.paintTime = 0;
    this.resolution = new Resolution(() => this.redraw());
    players.add(this);
    this.bind();
    this.unwatch = scenes.watch(() => this.data && this.adopt());
  }

  leave() {
    super.leave();
    players.delete(this);
    this.unbind();
    this.unwatch();
    this.resolution.end();
    clearTimeout(this.again);
  }

  // ---- data

  show(head) {
    const first = !this.data, fresh = this.data?.payload !== head.payload;
    this.data = head;
    if (fresh) take(this, head.panels instanceof Uint8Array ? decode(head.panels) : head.panels);
    if (fresh) this.align();
    if (first) this.start(head);
    this.root.classList.toggle("fv-stage", head.reserve === null);
    this.root.style.setProperty("--reserve", `${head.reserve}px`);
    if (fresh) this.build();
    this.colour();
    this.adopt();
  }

  /** Puts the frames and the solver steps of all panels on one clock. */
  align() {
    const { panels } = this.body, frames = aligned(panels.map((panel) => panel.times));
    const steps = aligned(panels.map((panel) => panel.step_times));
    panels.forEach((panel, i) => Object.assign(panel, { frames: frames[i], steps: steps[i] }));
  }

  start(head) {
    this.window = this.whole;
    this.begin(head.key, head.initial);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.clock.playing = head.autoplay && (head.loop || !this.visited) && !still;
    this.root.classList.toggle("fv-loop", head.loop);
    this.remember();
  }

  /** A loop is only watched: Python does not wait for its view. */
  report(wait = 0) { if (!this.data.loop) super.report(wait); }

  open({ t, speed, ...view }) {
    this.clock = { t, speed, playing: false };
    this.view = view;
  }

  get seen() { return { t: this.clock.t, speed: this.clock.speed, ...this.view }; }
  get whole() { return { x: 0, y: 0, r: this.body.frame }; }

  /** Takes the scenes that the payload names, as far as they have arrived. */
  adopt() {
    const { data, body } = this, found = (names) => names.map((name) => name && scenes.get(name));
    const exact = found(data.scenes);
    // Until a new scene arrives the old one stays, so that no panel flickers.
    this.scenes = body.panels.map((_, i) => exact[i] ?? (data.scenes[i] ? this.scenes[i] ?? null : null));
    this.learned = found(data.learned);
    this.complete = [...data.scenes, ...data.learned].every((name) => !name || scenes.get(name));
    this.find(".fv-densities").hidden = !data.learnable;
    this.find(".fv-modes").hidden = body.panels.every((panel) => panel.jumps);
    const known = this.scenes.filter(Boolean), speeds = known.map((scene) => scene.speed).filter(Boolean);
    this.speed = speeds.reduce((a, b) => a + b, 0) / speeds.length || 1;
    this.differencePeak = Math.max(1e-6, ...known.map((scene) => scene.difference_peak ?? 0));
    for (const node of this.all("[data-layer]")) {
      const need = NEEDS[node.dataset.layer];
      node.disabled = Boolean(need) && !known.some((scene) => scene[need]);
    }
    this.changed();
  }

  /** The learned density of panel i, if it is selected and has arrived. */
  learnedOf(i) { return this.view.density === "learned" ? this.learned[i] ?? null : null; }

  /** Colours of the page's theme. */
  colour() {
    const theme = (this.theme = this.dress());
    this.textFont = this.font;
    const base = {
      density: ramp(theme.density), difference: ramp(theme.difference), opacity: 220,
      noise: pixel(rgb(theme.roles.noise)), data: pixel(rgb(theme.roles.data)),
      classes: theme.classes.map((each) => pixel(rgb(each))),
      arrow: pixel(rgb(theme.ink)), arrowOpacity: this.root.dataset.theme === "dark" ? 150 : 138,
    };
    this.colours = this.body.panels.map((panel) => theme.roles[panel.role] ?? theme.ink);
    this.looks = this.colours.map((colour) => ({ ...base, role: pixel(rgb(colour)), halo: base.density[0] }));
    this.cells.forEach(({ figure, row }, i) => {
      for (const node of [figure, row]) node.style.setProperty("--role", this.colours[i]);
    });
    for (const panel of this.body.panels)
      panel.origins = panel.by_origin ? originPixels(panel, theme.cycle) : null;
    const swatch = this.body.panels[0].by_origin ? [theme.cycle[0], theme.cycle[3]] : this.colours;
    this.find(".fv-dots").replaceChildren(...dots(swatch));
    this.root.style.setProperty("--c-first", swatch[0]);
    this.root.style.setProperty("--c-last", swatch.at(-1));
  }

  themed() {
    if (!this.data) return;
    this.colour();
    this.changed();
  }

  resized() { this.changed(); }

  /** Everything has to be drawn again, not only the panels. */
  changed() {
    this.axesStale = this.stripStale = this.ticksStale = true;
    this.redraw();
  }

  /** Panels and strip rows; kept if their number is the same, so that nothing moves. */
  build() {
    const { panels } = this.body;
    this.marked = null;
    if (this.cells.length !== panels.length) {
      this.cells = panels.map(() => makeCell(this, (t) => this.act({ type: "jump", t })));
      this.cells.forEach((cell, i) => bindPlane(this, cell.plane, i));
      this.find(".fv-panels").replaceChildren(...this.cells.map((cell) => cell.figure));
      this.find(".fv-strip").replaceChildren(...this.cells.map((cell) => cell.row));
    }
    panels.forEach((panel, i) => fillCell(this.cells[i], panel));
    this.root.dataset.panels = String(panels.length);
  }

  // ---- controls

  bind() {
    const { root } = this, speed = (this.select = this.find("select"));
    for (const s of SPEEDS) speed.append(new Option(`${s}×`, String(s)));
    speed.addEventListener("change", () => {
      this.act({ type: "speed", speed: Number(speed.value) });
      this.report();
    });
    root.addEventListener("click", (/** @type {any} */ event) => {
      const { act, mode, layout, layer, density } = event.target.closest("button")?.dataset ?? {};
      if (act) this.perform(act);
      else if (layer) this.toggleLayer(layer);
      else if (density) this.pick(density);
      else if (mode) this.set({ mode });
      else if (layout) this.set({ layout });
    });
    onKey(root, (event) => this.onKey(event));
    this.unbind = onKey(document, (event) => {
      const first = [...players].find((player) => player.root.isConnected);
      if (first !== this || hasOwnKeys(event.composedPath()[0]) || event.defaultPrevented) return false;
      return !belongsToLecture(event.key) && this.onKey(event);
    });
  }

  onKey(event) {
    const meaning = keyMeaning(event.key, isPressed(event.composedPath()[0]));
    if (!meaning || event.target.tagName === "SELECT") return false;
    if (meaning.act) this.perform(meaning.act);
    else if (meaning.layer) this.toggleLayer(meaning.layer);
    else if (meaning.zoom) this.zoom(meaning.zoom);
    else this.act({ type: "jump", t: this.clock.t + meaning.nudge });
    return true;
  }

  /** Zooms about a point; zooming out stops at the whole plane. */
  zoom(factor, x = this.window.x, y = this.window.y) {
    const { frame } = this.body, next = zoomed(this.window, factor, x, y, frame);
    this.look(this.window.r < frame && next.r >= frame ? this.whole : next);
  }

  look(window) {
    this.window = window;
    this.axesStale = this.stripStale = true;
    this.resolution.move();
    this.redraw();
  }

  /** The particle near a point of the plane of panel i, in pixels of its width; none while it plays. */
  nearest(i, width, x, y) {
    if (this.clock.playing || !this.view.layers.includes("particles")) return null;
    return nearest(this.body.panels[i], this.view.mode, this.clock.t, this.window, width, x, y);
  }

  /** Shows the trajectories of one particle in all panels, or of none. */
  mark(particle) {
    if (particle === this.marked) return;
    this.marked = particle;
    this.stripStale = true;
    this.redraw();
  }

  perform(name) {
    const { view } = this, help = this.find(".fv-help");
    const step = (direction) => this.act({
      type: "step", direction,
      lists: this.body.panels.map((p) => (view.mode === "steps" ? p.steps : p.frames)),
    });
    const showHelp = (shown) => {
      help.hidden = !shown;
      this.find('[data-act="help"]').setAttribute("aria-expanded", shown);
    };
    ({
      toggle: () => this.act({ type: "toggle" }),
      back: () => step(-1),
      forward: () => step(1),
      start: () => this.act({ type: "jump", t: 0 }),
      end: () => this.act({ type: "jump", t: 1 }),
      mode: () => this.set({ mode: view.mode === "steps" ? "smooth" : "steps" }),
      layout: () => this.set({ layout: view.layout === "strip" ? "panels" : "strip" }),
      density: () => this.data.learnable && this.pick(view.density === "learned" ? "exact" : "learned"),
      home: () => this.look(this.whole),
      scale: () => this.set({ scale: view.scale === "own" ? "shared" : "own" }),
      png: () => save(picture(this),
        view.layout === "strip" ? "flowviz-strip.png" : `flowviz-t${this.clock.t.toFixed(3)}.png`),
      help: () => showHelp(help.hidden),
      options: () => {
        const shown = this.root.classList.toggle("fv-open");
        this.find('[data-act="options"]').setAttribute("aria-expanded", shown);
      },
      escape: () => showHelp(false),
    })[name]();
  }

  /** Selects a density and shows its layer. */
  pick(density) {
    this.set({ density, layers: LAYERS.filter((l) => l === "density" || this.view.layers.includes(l)) });
  }

  toggleLayer(name) {
    if (this.find(`[data-layer="${name}"]`).disabled) return;
    const on = this.view.layers.includes(name);
    this.set({ layers: LAYERS.filter((l) => (l === name ? !on : this.view.layers.includes(l))) });
  }

  set(change) {
    Object.assign(this.view, change);
    this.changed();
    if (!this.clock.playing) this.report(300);
  }

  act(action) {
    clearTimeout(this.again);
    super.act(action);
    if (action.type === "scrub") this.resolution.move();
  }

  // ---- drawing

  draw(now) {
    const playing = this.clock.playing, gap = this.advance(now);
    if (playing) this.resolution.move(gap, this.paintTime);
    if (playing && !this.clock.playing && (this.data.loop || repeats()))
      this.again = setTimeout(() => this.act({ type: "toggle" }), LOOP_PAUSE);
    const { layout, mode } = this.view, { t } = this.clock;
    const strip = layout === "strip", began = performance.now();
    this.find(".fv-panels").hidden = strip;
    this.find(".fv-strip").hidden = !strip;
    if (strip) this.drawStrip(); else this.drawPanels();
    this.paintTime = performance.now() - began;
    if (this.ticksStale) this.ticksStale = !drawTicks(this);
    this.showClock();
    this.dressControls();
    if (!this.resolution.moving || began - this.textTime > TEXT_INTERVAL) {
      this.textTime = began;
      const part = strip ? "row" : "figure";
      this.body.panels.forEach((panel, i) => showCell(this.cells[i][part], panel, t, strip ? "" : mode));
      drawLegend(this.find(".fv-legend").children, legendOf(this, t));
    }
    this.pictures += 1;
    Object.assign(this.root.dataset, {
      t: t.toFixed(3), playing: this.clock.playing, drawn: this.pictures, quality: this.resolution.quality,
      payload: this.complete ? this.data.payload : "", paint: this.paintTime.toFixed(1),
    });
  }

  /** What paint() needs for panel i at time t. */
  settings(i, t, dot, radius = 1.75) {
    const { speed, differencePeak, window, marked } = this, count = this.body.panels[i].states.shape[1];
    const enlarged = count <= FEW ? 2.2 * radius : radius;
    const look = Object.assign(this.looks[i], { speed, differencePeak, radius: enlarged });
    const { mode, layers } = this.view, { frame } = this.body;
    const densityRoot = rootOf(this, i, t), learned = this.learnedOf(i);
    return { t, mode, layers, window, frame, dot, look, densityRoot, learned, marked };
  }

  drawPanels() {
    const ratio = density() * this.resolution.share;
    this.cells.forEach((cell, i) => {
      const side = cell.plane.clientWidth;
      if (!side) return;
      const w = Math.max(32, Math.round(side * ratio));
      if (cell.surface?.w !== w) {
        cell.surface = surface(w);
        cell.canvas.width = cell.canvas.height = w;
      }
      // Marks scale with the plane, so that a small panel looks like a large one from afar.
      const dot = (w / side) * clamp(side / 440, 0.7, 1.5);
      paint(cell.surface, this.body.panels[i], this.scenes[i], this.settings(i, this.clock.t, dot));
      cell.c.putImageData(cell.surface.image, 0, 0);
      if (this.axesStale) this.drawCellAxes(cell, side);
    });
    this.axesStale = false;
  }

  drawCellAxes(cell, side) {
    const ratio = devicePixelRatio || 1, c = cell.axes.getContext("2d");
    cell.axes.width = Math.round(cell.plot.clientWidth * ratio);
    cell.axes.height = Math.round(cell.plot.clientHeight * ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawAxes(c, this.axesStyle(EDGE.left, EDGE.top, side));
  }

  axesStyle(left, top, side, size) {
    const { hair, muted } = this.theme;
    return { left, top, side, window: this.window, hair, muted, font: this.textFont, size };
  }

  drawStrip() {
    const current = Math.round(this.clock.t * (FRAMES - 1)), ratio = density();
    this.cells.forEach((cell, i) => cell.shots.forEach(({ button, shot, c, t }, j) => {
      button.setAttribute("aria-current", String(j === current));
      const side = shot.clientWidth;
      if (!this.stripStale || !side) return;
      const s = surface(Math.round(side * ratio));
      shot.width = shot.height = s.w;
      const dot = ratio * clamp(side / 150, 0.6, 1);
      paint(s, this.body.panels[i], this.scenes[i], this.settings(i, t, dot, 1));
      c.putImageData(s.image, 0, 0);
    }));
    this.stripStale = false;
  }

  dressControls() {
    const { view, window: w, clock: { speed } } = this, stamp = JSON.stringify([view, speed, w]);
    if (stamp === this.dressed) return;
    this.dressed = stamp;
    for (const node of this.all("[data-layer]")) press(node, view.layers.includes(node.dataset.layer));
    for (const name of ["density", "mode", "layout"])
      for (const node of this.all(`[data-${name}]`)) press(node, view[name] === node.dataset[name]);
    this.select.value = speed;
    write(this.find('[data-act="scale"]'), view.scale === "own" ? "own scales" : "one scale");
    this.find('[data-act="home"]').disabled = w.x === 0 && w.y === 0 && w.r === this.body.frame;
  }
}
