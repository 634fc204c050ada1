/** On a phone the sidebar covers the panels: a held control alone is shown over them, see pages.css. */

const PHONE = matchMedia("(max-width: 768px)");
/** Pixels between the control and the panels. */
const GAP = 12;

/**
 * Shows the panels behind a held control, or the sidebar again (null).
 * @param {Element | null} control
 * @param {HTMLElement} root Of the player.
 */
export function hold(control, root) {
  for (const old of document.querySelectorAll("[data-held]")) old.removeAttribute("data-held");
  const node = root.getRootNode(), host = node instanceof ShadowRoot ? node.host : root;
  const page = host.closest('[data-testid="stMain"]');
  if (!control || !PHONE.matches || !page || !control.closest('[data-testid="stSidebar"]')) return;
  control.setAttribute("data-held", "");
  const panels = root.querySelector(".fv-panels").getBoundingClientRect();
  const own = control.getBoundingClientRect();
  const above = own.top > innerHeight / 2;
  page.scrollTop += above ? panels.bottom + GAP - own.top : panels.top - GAP - own.bottom;
}
