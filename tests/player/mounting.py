"""A component in Chromium without Streamlit, from its own files."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowviz.ui.canvas import sources

UI = Path(__file__).parents[2] / "flowviz" / "ui"

LOAD = """
async ([name, html, css, source, width]) => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  window[name] = await import("data:text/javascript;base64," + source);
  const tell = (...told) => window.sent.push(told);
  const call = { setTriggerValue: tell, setStateValue: tell };
  window.show = (data) => window.leave = window[name].default({
    data, parentElement: document.querySelector("#host"), ...call,
  });
  window.mount = (data) => {
    document.body.innerHTML = `<div id="host" style="width:${width}px">${html}</div>`;
    window.sent = [];
    window.show(data);
  };
}
"""


@contextmanager
def component(chromium, stem: str, *, width: int, height: int) -> Iterator:
    """A page whose `mount(data)` puts the component there, anew; it must not complain.

    In the page the script's exports are an object named like the file, `show(data)` brings new
    data to the same place, and what the component tells its server gathers in `sent`.
    """
    page = chromium.new_page(viewport={"width": width + 100, "height": height})
    noise = []
    page.on("console", lambda m: m.type == "error" and noise.append(m.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    html, css, js = sources(UI / stem).values()
    source = base64.b64encode(js.encode()).decode()
    page.evaluate(LOAD, [Path(stem).name, html, css, source, width])
    yield page
    page.close()
    assert not noise, noise


def frame(page) -> None:
    """Waits until what was asked for has been drawn."""
    page.evaluate("() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
