/** Canvases outside of Streamlit, where their scripts arrive as texts. */

/** The function that mounts a canvas, from the text of its module. */
export async function mountOf(script) {
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: mount } = await import(address);
  URL.revokeObjectURL(address);
  return mount;
}

/** The functions that mount canvases by name, from their scripts by name. */
export async function mountsOf(scripts) {
  const found = Object.entries(scripts).map(async ([name, script]) => [name, await mountOf(script)]);
  return Object.fromEntries(await Promise.all(found));
}

/** The bytes in a gzip file that is written in base64. */
export async function unzipped(text) {
  const zipped = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const plain = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}
