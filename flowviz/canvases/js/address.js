/** The address of a page: a button that copies it, and a history in which Back leaves the page. */

/** The step of a lecture in an address. */
function step(search) {
  const query = new URLSearchParams(search);
  return `${query.get("lecture")} ${query.get("step")}`;
}

/**
 * Streamlit adds an entry to the history whenever a parameter of the address changes, such as the time
 * of the player. Here, only another page or another step of a lecture is an entry.
 * @param {History} history
 * @param {Location} location
 */
export function shortHistory(history, location) {
  const { pushState } = history;
  history.pushState = function (state, title, url) {
    const next = new URL(url ?? "", location.href);
    const same = next.pathname === location.pathname && step(next.search) === step(location.search);
    (same ? history.replaceState : pushState).call(history, state, title, url);
  };
}

/** Copies a text; without the permission of the browser (an address without https) by a selection. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export default function mount({ parentElement }) {
  const once = Symbol.for("flowviz.history");
  if (!globalThis[once]) shortHistory(history, location);
  globalThis[once] = true;
  const button = parentElement.querySelector("button");
  button.onclick = async () => {
    await copy(location.href);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy link"; }, 2000);
  };
}
