/** The base of every canvas: mounting, frame loop, resizing, theme, clock and reports to Python. */

import { clockAfter } from "./clock.js";
import { luminance, rgb } from "./colour.js";
import { onDrag, onKey, press, write } from "./dom.js";
import { decode } from "./wire.js";

/**
 * Draws `data` at most once a frame: after redraw(), a change of size and a change of theme.
 * Its root holds an element of the class `ground-theme` with the page's background colour.
 */
export class Canvas {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {(selector: string) => any} */
    this.find = (selector) => root.querySelector(selector);
    /** @type {(selector: string) => any[]} */
    this.all = (selector) => [...root.querySelectorAll(selector)];
    /** @type {any} */
    this.data = null;
    /** @type {{setStateValue: Function, setTriggerValue: Function}} */
    this.host = null;
    this.frame = 0;
    this.sizes = new ResizeObserver(() => this.resized());
    // A canvas with position: fixed changes its size without its root.
    for (const node of [root, ...this.all("canvas")]) this.sizes.observe(node);
    this.find(".ground-theme").addEventListener("transitionend", () => this.themed());
  }

  resized() { this.redraw(); }
  themed() { this.redraw(); }

  /** The page's background colour and "light" or "dark", which the root then states, too. */
  get page() {
    const paper = getComputedStyle(this.find(".ground-theme")).backgroundColor;
    const theme = luminance(rgb(paper)) < 0.5 ? "dark" : "light";
    this.root.dataset.theme = theme;
    return { paper, theme };
  }

  /** The colours of the page's theme, also as CSS variables --c-NAME of the root (ramps as gradients). */
  dress() {
    const theme = this.data.theme[this.page.theme];
    for (const [name, value] of Object.entries({ ...theme.roles, ...theme })) {
      const css = Array.isArray(value) ? `linear-gradient(90deg, ${value.join(", ")})` : String(value);
      this.root.style.setProperty(`--c-${name}`, css);
    }
    return theme;
  }

  /** A copy of the element in the template of this name. */
  clone(name) { return this.find(`template.${name}`).content.firstElementChild.cloneNode(true); }

  get font() { return getComputedStyle(this.root).fontFamily; }

  redraw() {
    this.frame ||= requestAnimationFrame((now) => {
      this.frame = 0;
      if (this.data && this.root.clientWidth) this.draw(now);
    });
  }

  /** @param {number} _now Milliseconds. */
  draw(_now) {}

  leave() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.sizes.disconnect();
  }
}

/** A canvas that the pointer drags and keys move; subclasses define grab, move, drop, key and blur. */
export class Draggable extends Canvas {
  constructor(root) {
    super(root);
    const canvas = (this.canvas = this.find("canvas"));
    onDrag(canvas, {
      grab: (event) => {
        event.preventDefault();
        canvas.focus({ preventScroll: true });
        this.redraw();
        return this.grab(event);
      },
      move: (event) => this.move(event),
      drop: () => this.drop(),
    });
    onKey(canvas, (event) => {
      const handled = this.key(event);
      if (handled) this.redraw();
      return handled;
    }, { modified: true });
    canvas.addEventListener("blur", () => { this.blur(); this.redraw(); });
  }

  grab(_event) { return false; }
  move(_event) {}
  drop() {}
  key(_event) { return false; }
  blur() {}
}

/** Views of all clocked canvases of the page by key, for elements that are mounted again. */
const views = (globalThis[Symbol.for("flowviz.views")] ??= new Map());

/**
 * A canvas with a clock, whose view (`seen`) Python is informed of when the clock rests.
 * Its root holds a slider, a button of the class `play` and an <output> for the time.
 */
export class Clocked extends Canvas {
  constructor(root) {
    super(root);
    this.clock = { t: 0, playing: false, speed: 1 };
    this.range = this.find("input[type=range]");
    this.play = this.find(".play");
    this.range.addEventListener("input", () =>
      this.act({ type: "scrub", t: this.range.value / this.range.max }));
    this.range.addEventListener("change", () => this.act({ type: "release" }));
    this.play.addEventListener("click", () => this.act({ type: "toggle" }));
    /** Seconds from t = 0 to t = 1. */
    this.sweep = 4;
    this.busy = false;
    this.last = 0;
  }

  get seen() { return { t: this.clock.t }; }

  /** Sets the view that is shown first. */
  open(_view) {}

  /** Opens the last view under this key, or `initial` if there is none or `initial` has changed. */
  begin(key, initial) {
    const known = views.get(key);
    this.key = key;
    this.initial = JSON.stringify(initial);
    this.open(known?.initial === this.initial ? known.seen : initial);
    this.reported = JSON.stringify(this.seen);
  }

  get visited() { return views.has(this.key); }

  act(action) {
    const was = this.clock.playing;
    const { release, ...clock } = clockAfter(this.clock, action, this.sweep);
    this.clock = clock;
    if (clock.playing && !was) this.last = 0;
    if (release) this.report(action.type === "step" || action.type === "jump" ? 250 : 0);
    this.redraw();
  }

  /** Moves a playing clock on to the frame `now`; returns the milliseconds since the last frame. */
  advance(now) {
    if (!this.clock.playing) return 0;
    const gap = this.last && now - this.last;
    this.last = now;
    this.act({ type: "tick", seconds: Math.min(gap, 250) / 1000 });
    return gap;
  }

  remember() { views.set(this.key, { initial: this.initial, seen: this.seen }); }

  /** Shows a position of the slider, the text of the time and the state of the button. */
  showClock(value = this.clock.t, text = `t = ${this.clock.t.toFixed(3)}`, label = "Play") {
    const { playing } = this.clock;
    this.range.value = value;
    this.range.style.setProperty("--at", `${value / this.range.max}`);
    this.range.setAttribute("aria-valuetext", text);
    write(this.find("output"), text);
    press(this.play, playing);
    this.play.setAttribute("aria-label", playing ? "Pause" : label);
  }

  /** Reports the view after `wait` milliseconds without another report, unless something moves. */
  report(wait = 0) {
    clearTimeout(this.reporting);
    this.remember();
    this.reporting = setTimeout(() => {
      const seen = JSON.stringify(this.seen);
      if (this.clock.playing || this.busy || seen === this.reported) return;
      this.reported = seen;
      this.host.setStateValue("view", JSON.parse(seen));
    }, wait);
  }

  leave() {
    super.leave();
    clearTimeout(this.reporting);
  }
}

/** Streamlit also runs the clean-up of a superseded call: act only if the node has left the page. */
export const onceGone = (node, action) => () => setTimeout(() => { if (!node.isConnected) action(); }, 0);

/** What a canvas reports on a page where nobody waits for it. */
const unheard = () => {};

/**
 * The function that a host (Streamlit) calls with new data. Each root element gets one canvas, which
 * lives as long as the root is on the page; its show(data) receives the data, decoded if they are bytes.
 * @param {string} selector Of the root.
 * @param {(root: HTMLElement, data: any) => any} create
 */
export function mounting(selector, create) {
  const mounts = new WeakMap();
  return ({ data, parentElement, setTriggerValue = unheard, setStateValue = unheard }) => {
    const root = parentElement.querySelector(selector);
    if (!root || !data) return undefined;
    const model = data instanceof Uint8Array || data instanceof ArrayBuffer ? decode(data) : data;
    if (!mounts.has(root)) mounts.set(root, create(root, model));
    const made = mounts.get(root);
    made.host = { setTriggerValue, setStateValue };
    made.show(model);
    return onceGone(root, () => { if (mounts.delete(root)) made.leave(); });
  };
}
