/**
 * An element that shows nothing: it has the server draw the figures anew in the theme of the page, and
 * until they arrive it inverts those of the other theme (pages.css).
 */

import { mounting } from "./base/canvas.js";
import { luminance, rgb } from "./base/colour.js";

const PAGE = ".stApp", FIGURE = ".js-plotly-plot";

const isDark = (/** @type {string} */ colour) => luminance(rgb(colour)) < 0.5;

class Scheme {
  constructor() {
    /** @type {{setTriggerValue: Function} | null} */
    this.host = null;
    this.page = document.querySelector(PAGE);
    this.look = this.look.bind(this);
    this.themes = new MutationObserver(this.look); // the page gets other classes
    this.themes.observe(this.page, { attributes: true, attributeFilter: ["class"] });
    this.figures = new MutationObserver(this.look);
  }

  leave() {
    this.themes.disconnect();
    this.figures.disconnect();
  }

  /** @param {{dark: boolean}} data The theme of the server's last figures. */
  show(data) {
    this.data = this.requested = data.dark;
    this.look();
  }

  look() {
    const dark = isDark(getComputedStyle(this.page).backgroundColor);
    if (dark !== this.requested) this.host?.setTriggerValue("theme", dark ? "dark" : "light");
    this.requested = dark;
    let waits = dark !== this.data;
    for (const figure of /** @type {NodeListOf<any>} */ (document.querySelectorAll(FIGURE))) {
      const paper = figure._fullLayout?.paper_bgcolor, other = Boolean(paper) && isDark(paper) !== dark;
      figure.toggleAttribute("data-other-theme", other);
      waits ||= other;
    }
    if (waits) this.figures.observe(this.page, { childList: true, subtree: true });
    else this.figures.disconnect();
  }
}

export default mounting(".fv-scheme", () => new Scheme());
