/** Canvases as a widget of a notebook; see flowviz/notebook.py and anywidget's documentation. */

import { mountsOf } from "./base/module.js";

async function render({ model, el }) {
  el.innerHTML = model.get("html");
  const places = el.querySelectorAll(".canvas-place");
  const known = await mountsOf(model.get("scripts"));
  const ends = model.get("mounts").map(({ canvas, payload }, k) =>
    known[canvas]({
      data: new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength),
      parentElement: places[k],
      setStateValue(name, value) {
        model.set(name, value);
        model.save_changes();
      },
    }),
  );
  return () => {
    el.replaceChildren();
    for (const end of ends) end?.();
  };
}

export default { render };
