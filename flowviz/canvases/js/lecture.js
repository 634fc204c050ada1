/** Steps through a lecture: buttons, and the keys of a keyboard or of a presenter's remote. */

import { mounting } from "./base/canvas.js";
import { hasOwnKeys } from "./base/dom.js";

/** Milliseconds after which an unanswered request is repeated. */
const PATIENCE = 1500;

/** The request of a key, "next" or "previous", or null. Presenters' remotes send Page Down and Page Up. */
export function requested(key, target = null) {
  if (key === "PageDown") return "next";
  if (key === "PageUp") return "previous";
  if (hasOwnKeys(target)) return null;
  return { ArrowRight: "next", ArrowLeft: "previous" }[key] ?? null;
}

/** The page of a step, and its first figure. */
const PAGE = ".stMainBlockContainer > *", FIGURE = '.stMain [class*="-filling"]';
/** Pixels below a figure. */
const GAP = 8;
/** The controls of a step, at the lower edge of the window, or on a page with a player in its first bar. */
const DOCK = '[data-testid="stSidebar"]', STAGE = '.stMain [class*="-stage"]';

/** Sets lengths in pixels: --lecture-room, the height between the text of a step and its controls;
 *  --lecture-figure, the height below the top of the first figure;
 *  --lecture-top and --lecture-dock, where the player's bar is and how much of it the controls take. */
function measure() {
  const banner = document.querySelector(".st-key-lecture-banner"), stage = document.querySelector(STAGE);
  const dock = document.querySelector(DOCK);
  if (!banner) return;
  for (const formula of /** @type {NodeListOf<HTMLElement>} */ (banner.querySelectorAll(".katex-display"))) {
    formula.style.fontSize = ""; // a formula wider than its column is drawn smaller
    const { clientWidth, scrollWidth } = formula;
    if (scrollWidth > clientWidth) formula.style.fontSize = `${clientWidth / scrollWidth}em`;
  }
  const scrolled = banner.closest('[data-testid="stMain"]')?.scrollTop ?? 0;
  const below = stage ? 0 : dock?.clientHeight ?? 0;
  const under = (top) => innerHeight - top - scrolled - below;
  const room = under(banner.getBoundingClientRect().bottom), figure = document.querySelector(FIGURE);
  const lengths = {
    room,
    figure: figure ? under(figure.getBoundingClientRect().top) - GAP : room,
    top: stage?.getBoundingClientRect().top ?? 0,
    dock: stage ? dock?.clientWidth ?? 0 : 0,
  };
  for (const [name, length] of Object.entries(lengths))
    document.documentElement.style.setProperty(`--lecture-${name}`, `${Math.floor(length)}px`);
}

class Steps {
  constructor(root) {
    this.root = root;
    this.sizes = new ResizeObserver(measure);
    this.number = this.count = this.every = 0;
    /** @type {{setTriggerValue: Function}} */
    this.host = null;
    for (const node of root.querySelectorAll("button"))
      node.addEventListener("click", () => { node.blur(); this.go(node.dataset.where); });
    this.onKey = this.onKey.bind(this);
    document.addEventListener("keydown", this.onKey, true);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("scroll", measure, true);
  }

  leave() {
    clearTimeout(this.repeat);
    clearTimeout(this.later);
    document.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("scroll", measure, true);
    delete document.documentElement.dataset.lecture;
    this.sizes.disconnect();
  }

  show({ number, count, every }) {
    if (number !== this.number) clearTimeout(this.repeat);
    Object.assign(this, { number, count, every });
    clearTimeout(this.later);
    if (every) this.later = setTimeout(() => this.go("next"), 1000 * every);
    document.documentElement.dataset.lecture = every ? "loop" : ""; // players leave it the arrows
    const find = (name) => this.root.querySelector(`.fl-${name}`);
    find("where").textContent = `${number} / ${count}`;
    find("previous").disabled = number === 1;
    find("next").disabled = number === count && !every;
    for (const selector of [".st-key-lecture-banner", DOCK, STAGE, PAGE, "html"]) {
      const node = document.querySelector(selector);
      if (node) this.sizes.observe(node);
    }
  }

  onKey(event) {
    const { ctrlKey, metaKey, altKey, shiftKey, defaultPrevented } = event;
    if (ctrlKey || metaKey || altKey || shiftKey || defaultPrevented) return;
    const where = requested(event.key, event.composedPath()[0]);
    if (!where) return;
    // A remote's keys belong to the lecture even if the player has the focus; arrows do not.
    if (event.eventPhase === Event.CAPTURING_PHASE && !event.key.startsWith("Page")) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(where);
  }

  /** Streamlit drops a request if another part of the page reports at the same moment, so it is
   *  repeated; Python accepts only requests from the step that it shows. */
  go(where, times = 3) {
    if (where === "previous" && this.number === 1) return;
    if (where === "next" && this.number === this.count && !this.every) return;
    clearTimeout(this.repeat);
    this.host.setTriggerValue("go", { from: this.number, where });
    if (times) this.repeat = setTimeout(() => this.go(where, times - 1), PATIENCE);
  }
}

export default mounting(".fl", (root) => new Steps(root));
