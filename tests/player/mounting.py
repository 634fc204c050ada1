"""Canvases in Chromium without Streamlit: their modules, and the built script on its own HTML."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowviz import canvases

JS = Path(canvases.__file__).parent / "js"
URL = "http://canvases.test/"

LOAD = """
async ([url, html, css, source, modules]) => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  window.html = html;
  window.bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  window.canvas = (await import("data:text/javascript;base64," + source)).default;
  for (const path of modules) {
    const name = path.split("/").pop().replace(".js", "");
    window[name] = await import(url + path);
  }
}
"""

MOUNT = """
(width) => {
  window.sent = [];
  const report = (...args) => window.sent.push(args);
  window.show = (data) => window.leave = canvas({
    data: typeof data === "string" ? bytes(data) : data,
    parentElement: document.querySelector("#host"),
    setTriggerValue: report, setStateValue: report,
  });
  window.mount = (data) => {
    document.body.innerHTML = `<div id="host" style="width:${width}px">${html}</div>`;
    window.sent = [];
    show(data);
  };
}
"""


def text(payload: bytes) -> str:
    """A payload as a text, which `show` and `mount` decode."""
    return base64.b64encode(payload).decode()


@contextmanager
def loaded(tab, name: str, *modules: str, width: int, height: int) -> Iterator:
    """The tab at a new page with the built canvas `name` as `canvas`, which must not log errors.

    Each of `modules`, files below flowviz/canvases/js, is an object named like the file;
    `bytes` decodes base64 and `html` is the canvas's own.
    """
    noise = []
    listeners = {
        "console": lambda m: m.type == "error" and noise.append(m.text),
        "pageerror": lambda error: noise.append(str(error)),
    }

    def serve(route):
        path = route.request.url.removeprefix(URL)
        if path.endswith(".js"):
            body = (JS / path).read_text(encoding="utf-8")
            route.fulfill(body=body, content_type="text/javascript; charset=utf-8")
        else:
            route.fulfill(body="<!doctype html><meta charset=utf-8>", content_type="text/html")

    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.route(f"{URL}**", serve)
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(reduced_motion="no-preference")
    tab.goto(URL)
    files = canvases.assets(name)
    tab.evaluate(LOAD, [URL, files["html"], files["css"], text(files["js"].encode()), modules])
    yield tab
    tab.goto("about:blank")
    tab.unroute(f"{URL}**")
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert not noise, noise


@contextmanager
def component(tab, name: str, *modules: str, width: int, height: int) -> Iterator:
    """A page of `loaded` whose `mount(data)` creates the canvas again.

    `show(data)` gives new data to the same canvas, and `sent` has the messages of the canvas.
    """
    with loaded(tab, name, *modules, width=width + 100, height=height) as page:
        page.evaluate(MOUNT, width)
        yield page


def frame(page) -> None:
    """Waits until the next picture has been drawn."""
    page.evaluate("() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
