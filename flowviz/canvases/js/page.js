/**
 * The script of a page of one file. Scripts and payloads of its canvases are in the page, so that it
 * requests nothing; see flowviz/canvases/page.py.
 */

import { mountsOf } from "./base/module.js";

/** The bytes in a gzip file that is written in base64. */
async function unpacked(text) {
  const zipped = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const plain = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** Mounts the canvases of the page, in order: scenes come before their player. */
async function show() {
  const { scripts, mounts } = JSON.parse(document.querySelector("#canvases").textContent);
  const places = document.querySelectorAll(".canvas-place");
  const known = await mountsOf(scripts);
  for (const [k, { canvas, payload }] of mounts.entries()) {
    known[canvas]({
      data: await unpacked(payload),
      parentElement: places[k],
      setStateValue() {}, // nobody waits for the view
      setTriggerValue() {},
    });
  }
}

show();
