// What the components share. A component is one script without a neighbour to import from, so that
// Python puts this text in front of each one's own (see __init__.py).

export const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

/** A new element, with a class and a text if they are given. */
const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

/** [context, width, height] of a canvas in CSS pixels, with two pixels of its own for each at most. */
function sized(canvas) {
  const ratio = Math.min(2, devicePixelRatio || 1), { clientWidth: w, clientHeight: h } = canvas;
  const [x, y] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== x || canvas.height !== y) [canvas.width, canvas.height] = [x, y];
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [c, w, h];
}

/** The page's colour and the name of its theme, from the element that has that background. */
function paperOf(root) {
  const paper = getComputedStyle(root.querySelector(".ground-theme")).backgroundColor;
  const [r, g, b] = (paper.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return [paper, 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light"];
}

/** What is drawn from `data`, at most once a frame: when asked, and when its size or the theme changes. */
class Drawn {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.frame = 0;
    this.sizes = new ResizeObserver(() => this.resized());
    this.find(".ground-theme").addEventListener("transitionend", () => this.themed());
  }

  resized() { this.redraw(); }
  themed() { this.redraw(); }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      if (this.data && this.root.clientWidth) this.draw(now);
    });
  }

  leave() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.sizes.disconnect();
  }
}

/** One canvas of which a pointer takes hold (`grasp` says whether of anything) and which keys move
 *  (`key` says whether the key was one of its own). */
class Held extends Drawn {
  constructor(root) {
    super(root);
    const canvas = (this.canvas = this.find("canvas"));
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      if (this.grasp(event)) canvas.setPointerCapture(event.pointerId);
      this.redraw();
    });
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.drop());
    canvas.addEventListener("keydown", (event) => {
      if (!this.key(event)) return;
      event.preventDefault();
      event.stopPropagation(); // Streamlit has single-key shortcuts of its own
      this.redraw();
    });
    canvas.addEventListener("blur", () => {
      this.blur();
      this.redraw();
    });
  }
}

/** What Streamlit calls with new data: one `Kind` a node, which stays under a stable key. */
const mounting = (selector, Kind) => {
  const mounts = new WeakMap();
  return ({ data, parentElement, setTriggerValue, setStateValue }) => {
    const root = parentElement.querySelector(selector);
    if (!root || !data) return undefined;
    if (!mounts.has(root)) mounts.set(root, new Kind(root));
    const made = mounts.get(root);
    made.show(data, { setTriggerValue, setStateValue });
    root.dataset.ready = +(root.dataset.ready || 0) + 1;
    // Streamlit runs the clean-up of a superseded call too: only a root that left the page is gone.
    return () => setTimeout(() => { if (!root.isConnected && mounts.delete(root)) made.leave(); }, 0);
  };
};
