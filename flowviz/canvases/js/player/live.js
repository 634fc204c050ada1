/**
 * Particles that the page computes while a control moves, in place of those of the server. The element that
 * computes them (js/preview.js) is a separate script and meets the player here.
 */

/** @type {{player: any, preview: any}} */
export const live = (globalThis[Symbol.for("flowviz.live")] ??= { player: null, preview: null });

/** Takes the panels of the server; computed ones stay if a control has moved on since. */
export function take(player, body) {
  player.served = body;
  if (player.data.live) live.player = player;
  if (!player.previewed || !live.preview?.isAhead(player.data.live)) put(player, null);
}

function put(player, panels) {
  player.previewed = Boolean(panels);
  player.body = panels ? { ...player.served, panels } : player.served;
  player.root.dataset.preview = panels ? "shown" : "";
  // Streamlit fades what is old, which computed particles are not: pages.css.
  player.root.getRootNode().host?.closest("[data-stale]")?.toggleAttribute("data-preview", player.previewed);
}

/** Shows computed panels, or those of the server again (null). */
export function preview(player, panels) {
  put(player, panels);
  player.align();
  player.build();
  player.changed();
}
