/** What the pages of the site share: controls, a line of text, charts and threads. */

import { Form } from "./form.js";
import { newest, threadOf } from "./threads.js";

export class Page {
  /**
   * @param {HTMLElement} root
   * @param {any} model
   */
  constructor(root, model) {
    this.root = root;
    this.model = model;
    this.status = root.querySelector(".live-status");
    /** @type {import("./charts.js").Charts | null} */
    this.charts = null;
    this.threads = [];
  }

  /** The controls; `change` is called with their values. */
  form(fields, change) { return new Form(this.root.querySelector("form"), fields, change); }

  /** Shows the controls, and computes the newest of their values in some threads. */
  start(threads, fields) {
    this.threads = Array.from({ length: threads }, () => threadOf(this.model));
    const ask = newest((...args) => this.compute(...args));
    ask({ ...this.form(fields, ask).values }, false);
  }

  /** Shows the result of these values, unless `superseded()` is true by then. */
  async compute(..._given) {}

  end() {
    this.charts?.leave();
    for (const thread of this.threads) thread.end();
  }
}
