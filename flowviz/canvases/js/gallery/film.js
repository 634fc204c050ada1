/** Films of images, their predictions and a strip of moments, all under one clock. */

import { Clocked } from "../base/canvas.js";
import { button, element, onKey, press, write } from "../base/dom.js";
import { clamp, nearest } from "../base/numbers.js";
import { colourPanels, drawImage, fillCaption } from "./images.js";
import { filmSizes } from "./layout.js";

/** Moments of a strip. */
const MOMENTS = 11;
function imageButton(action, options) {
  const made = button(undefined, action, options);
  made.append(element("canvas"));
  return made;
}

export class Film extends Clocked {
  constructor(root) {
    super(root);
    this.sweep = 5;
    this.image = this.width = this.ratio = 0;
    onKey(root, (event) => this.onKey(event));
  }

  show(data) {
    const before = this.data;
    this.data = data;
    if (!before) this.begin(data.key, data.initial);
    if (before?.name !== data.name) this.build();
    this.themed();
  }

  open({ t, image }) {
    this.clock.t = t;
    this.image = clamp(image, 0, this.data.labels.length - 1);
  }

  get seen() { return { t: Number(this.clock.t.toFixed(3)), image: this.image }; }
  get times() { return this.data.sides[0].times; }

  themed() {
    if (this.data) colourPanels(this, this.data.sides);
    this.redraw();
  }

  /** Draws frame k of image n. */
  drawOn(canvas, pixels, k, n = this.image) {
    const [, count, h, w] = pixels.shape;
    drawImage(canvas.getContext("2d"), pixels, (k * count + n) * h * w * 3, w, h);
  }

  choose(n) {
    if (n >= this.data.labels.length) return;
    this.image = n;
    this.report();
    this.redraw();
  }

  onKey({ key, target }) {
    const { t } = this.clock, jump = { Home: 0, End: 1, PageDown: t + 0.1, PageUp: t - 0.1 };
    const lists = [this.times], direction = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (key === " " && target.tagName !== "BUTTON") this.act({ type: "toggle" });
    else if (direction) this.act({ type: "step", lists, direction });
    else if (key in jump) this.act({ type: "jump", t: jump[key] });
    else if (key >= "1" && key <= "9") this.choose(Number(key) - 1);
    else return false;
    return true;
  }

  // ---- elements

  build() {
    const { data } = this, last = this.times.length - 1;
    this.image = clamp(this.image, 0, data.labels.length - 1);
    this.moments = Array.from({ length: MOMENTS }, (_, i) => Math.round((i * last) / (MOMENTS - 1)));
    this.find(".fi-bar").hidden = this.find(".fi-strips").hidden = false;
    this.find(".fi-panels").replaceChildren(...data.sides.map((side, i) => {
      const figure = this.clone("fi-side");
      fillCaption(figure, side, i);
      return figure;
    }));
    const ticks = element("div", "fi-ticks");
    ticks.append(...this.moments.map((k) => element("span", "", this.times[k].toFixed(1))));
    const strips = data.sides.flatMap((side, i) =>
      ["states", "predictions"].flatMap((what) => this.makeStrip(side, i, what)));
    this.find(".fi-strips").replaceChildren(...strips, element("div", "fi-name", "t"), ticks);
    this.find(".fi-choice").replaceChildren(...data.labels.map((label, n) => {
      const title = `Image ${n + 1}: ${label} (key ${n + 1})`;
      return imageButton(() => this.choose(n), { title, ariaLabel: title });
    }));
    const [, , height, width] = data.sides[0].states.shape;
    for (const canvas of this.all("canvas")) Object.assign(canvas, { width, height });
    this.all(".fi-choice canvas").forEach((c, n) => this.drawOn(c, data.sides[0].predictions, last, n));
    this.stripped = null;
    this.width = 0;
  }

  /** The name and the moments of one row of the strips. */
  makeStrip(side, i, what) {
    const name = element("div", "fi-name"), strip = element("div", "fi-strip");
    name.dataset.side = i;
    name.append(element("b", "", side.title.split(",")[0]), ` ${what === "states" ? "xₜ" : "E[x₁ | xₜ]"}`);
    Object.assign(strip.dataset, { what, of: i });
    strip.append(...this.moments.map((k) => {
      const jump = () => this.act({ type: "jump", t: this.times[k] });
      return imageButton(jump, { tabIndex: -1, title: `t = ${side.times[k].toFixed(2)}` });
    }));
    return [name, strip];
  }

  // ---- drawing

  draw(now) {
    this.advance(now);
    const width = this.root.clientWidth, ratio = devicePixelRatio || 1;
    if (width !== this.width || ratio !== this.ratio) this.lay(width, ratio);
    const { clock: { t }, image, data } = this;
    this.showClock();
    this.all(".fi-film").forEach((figure, i) => this.drawSide(figure, data.sides[i]));
    this.all(".fi-choice button").forEach((node, n) => press(node, n === image));
    if (this.stripped !== image) this.all(".fi-strip").forEach((strip) => this.drawStrip(strip));
    this.stripped = image;
    const nearestMoment = nearest(this.moments.map((k) => this.times[k]), t);
    for (const row of this.all(".fi-strip, .fi-ticks"))
      [...row.children].forEach((node, j) => node.setAttribute("aria-current", String(j === nearestMoment)));
    Object.assign(this.root.dataset, { t: t.toFixed(3), image });
  }

  drawSide(figure, side) {
    const k = nearest(side.times, this.clock.t), canvases = figure.querySelectorAll("canvas");
    this.drawOn(canvases[0], side.states, k);
    this.drawOn(canvases[1], side.predictions, k);
    const [noise, distance] = figure.querySelectorAll("b");
    write(noise, `${Math.round(100 * side.noise[k])}%`);
    write(distance, side.remaining[k * this.data.labels.length + this.image].toFixed(2));
  }

  drawStrip(strip) {
    const pixels = this.data.sides[strip.dataset.of][strip.dataset.what];
    strip.querySelectorAll("canvas").forEach((canvas, j) => this.drawOn(canvas, pixels, this.moments[j]));
  }

  /** Sizes for a width of the page. */
  lay(width, ratio) {
    Object.assign(this, { width, ratio });
    const [, , h, w] = this.data.sides[0].states.shape;
    const label = Math.max(...this.all(".fi-name").map((node) => node.getBoundingClientRect().width));
    const sizes = filmSizes({ width, count: this.data.sides.length, moments: MOMENTS, h, w, label, ratio });
    const px = (n, k) => `${(n * k) / ratio}px`;
    const fit = (selector, k) => this.all(selector).forEach(({ style }) => {
      style.width = px(w, k);
      style.height = px(h, k);
    });
    fit(".fi-film canvas", sizes.film);
    fit(".fi-strip canvas", sizes.strip);
    fit(".fi-choice canvas", sizes.choice);
    for (const { style } of this.all(".fi-film .fi-what")) style.width = px(w, sizes.film);
    for (const { style } of this.all(".fi-ticks span")) style.width = px(w, sizes.strip);
    for (const { style } of this.all(".fi-strip, .fi-ticks")) style.gap = `${sizes.gap}px`;
    this.root.dataset.zoom = String(sizes.film);
  }
}
