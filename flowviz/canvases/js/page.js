/**
 * The script of a page of one file. Scripts and payloads of its canvases are in the page, so that it
 * requests nothing; see flowviz/canvases/page.py.
 */

import { mountsOf, unzipped } from "./base/module.js";

/** Mounts the canvases of the page, in order: scenes come before their player. */
async function show() {
  const { scripts, mounts } = JSON.parse(document.querySelector("#canvases").textContent);
  const places = document.querySelectorAll(".canvas-place");
  const known = await mountsOf(scripts);
  const canvases = Object.fromEntries(mounts.map(({ canvas }, k) =>
    [canvas, { mount: known[canvas], place: places[k] }]));
  for (const [k, { canvas, payload }] of mounts.entries()) {
    if (!payload) continue; // another canvas mounts this one
    known[canvas]({ data: await unzipped(payload), parentElement: places[k], canvases });
  }
}

show();
