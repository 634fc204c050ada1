/**
 * The script of a page of one file. Scripts and payloads of its canvases are in the page, so that it
 * requests nothing; see flowviz/canvases/page.py.
 */

/** The bytes in a gzip file that is written in base64. */
async function unpacked(text) {
  const zipped = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const plain = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

/** The function that mounts a canvas, from the text of its module. */
async function mountOf(script) {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  return (await import(address)).default;
}

/** Mounts the canvases of the page, in order: scenes come before their player. */
async function show() {
  const { scripts, mounts } = JSON.parse(document.querySelector("#canvases").textContent);
  const places = document.querySelectorAll(".canvas-place");
  /** @type {Record<string, Function>} */
  const known = {};
  for (const [name, script] of Object.entries(scripts)) known[name] = await mountOf(script);
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
