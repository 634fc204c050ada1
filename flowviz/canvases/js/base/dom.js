/** Elements of the page. */

/**
 * A new element, with a class and a text if given.
 * @param {string} tag
 * @returns {any}
 */
export function element(tag, className = "", text = undefined) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A new button that calls `action`; `options` are properties of the element. */
export function button(text, action, options = {}) {
  const made = Object.assign(element("button", "", text), { type: "button", ...options });
  if (action) made.addEventListener("click", action);
  return made;
}

/** Sets a text if it changed: each change costs the browser a layout. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Writes title and note of a panel into its caption, whose tooltip has both: a narrow one is cut. */
export function caption(node, title, note) {
  const [name, beside] = node.children;
  [name.textContent, beside.textContent] = [title, note];
  node.title = [title, note].filter(Boolean).join(", ");
}

/** Sets the pressed state of a button if it changed. */
export function press(node, on) {
  if (node.getAttribute("aria-pressed") !== String(on)) node.setAttribute("aria-pressed", String(on));
}

/** Saves a canvas as a PNG file. */
export function save(canvas, filename) {
  canvas.toBlob((blob) => {
    const link = Object.assign(element("a"), { href: URL.createObjectURL(blob), download: filename });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}

/** Device pixels per CSS pixel, at most 2: more cost time that no eye sees. */
export const density = () => Math.min(2, devicePixelRatio || 1);

/**
 * Fits the pixels of a canvas to its size on the page.
 * @param {HTMLCanvasElement} canvas
 * @returns {[CanvasRenderingContext2D, number, number]} Context, width and height in CSS pixels.
 */
export function sized(canvas) {
  const ratio = density(), { clientWidth: w, clientHeight: h } = canvas;
  const [x, y] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== x || canvas.height !== y) [canvas.width, canvas.height] = [x, y];
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [c, w, h];
}

/** The size of the smallest text on a canvas in CSS pixels; a lecture sets a larger one. */
export const textSize = (/** @type {Element} */ node) =>
  parseFloat(getComputedStyle(node).getPropertyValue("--stage-text")) || 12;

/** Elements in which arrows, letters or Home have a meaning of their own. */
const OWN_KEYS = "canvas, input, textarea, select, [contenteditable=true], " +
  ["slider", "combobox", "listbox", "menu", "menuitem", "radio", "tab", "spinbutton"]
    .map((role) => `[role=${role}]`).join();

/** Whether the element that has the focus uses keys itself; a click on blank page focuses none. */
export const hasOwnKeys = (target) => Boolean(target?.closest?.(OWN_KEYS));

/** Whether Space presses the element that has the focus. */
export const isPressed = (target) => Boolean(target?.closest?.("button, a, summary"));

/** Calls `handler` on a key press, unless Ctrl, Meta or Alt is held and `modified` is false; a handler
 *  that returns true has used the key. Returns the function that ends this. */
export function onKey(node, handler, { modified = false } = {}) {
  const listener = (event) => {
    if (!modified && (event.ctrlKey || event.metaKey || event.altKey)) return;
    if (!handler(event)) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has single-key shortcuts of its own
  };
  node.addEventListener("keydown", listener);
  return () => node.removeEventListener("keydown", listener);
}

/** Pointer gestures: `grab(event)` returns whether a drag begins, then `move` and `drop` are called.
 *  `move` is also called without a drag. */
export function onDrag(node, { grab, move, drop }) {
  node.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && grab(event)) node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", move);
  for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, drop);
}

/**
 * Shows read-outs in a <dl>; while their labels stay, only the texts change.
 * @param {any} list
 * @param {[label: string, value: string, unit: string, help: string][]} rows
 */
export function showReadouts(list, rows) {
  const labels = rows.map(([label]) => label).join();
  if (labels !== list.labels) {
    list.labels = labels;
    list.replaceChildren(...rows.map(([label, , unit, help]) => {
      const item = element("div"), value = element("dd");
      value.append(element("span"), ...(unit ? [" ", element("small")] : []));
      item.append(element("dt", "", label), value);
      if (help) {
        item.dataset.tip = help; // canvas.css shows it for pointer, keyboard and touch
        Object.assign(item.firstChild, { tabIndex: 0, ariaLabel: `${label}: ${help}` });
      }
      return item;
    }));
  }
  rows.forEach(([, value, unit], i) => {
    const { firstChild, lastChild } = list.children[i].lastChild;
    write(firstChild, value);
    if (unit) write(lastChild, unit);
  });
}
