"""The player as a widget of a notebook, tested without one: its state and its script."""

import base64

import pytest

from flowviz.canvases.wire import header_of

notebook = pytest.importorskip("flowviz.notebook", reason="pip install .[notebook]")

MODEL = """
async ([source, state, payloads]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  state.mounts.forEach((mount, k) => { mount.payload = new DataView(bytes(payloads[k]).buffer); });
  const style = document.head.appendChild(document.createElement("style"));
  style.textContent = state._css;
  window.saved = [];
  window.el = document.body.appendChild(document.createElement("div"));
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; },
    save_changes: () => window.saved.push(state.view),
  };
  const widget = (await import("data:text/javascript;base64," + source)).default;
  window.end = await widget.render({ model, el });
}
"""


@pytest.fixture(scope="module")
def player():
    return notebook.compare("moons", "ot", "trig", "ve", field="exact", nfe=2)


def test_the_widget_has_all_flows(player):
    kinds = [each["canvas"] for each in player.mounts]
    assert kinds == ["scene", "scene", "scene", "player"]
    assert header_of(player.mounts[-1]["payload"], "player")["loop"] is False
    assert [side.path for side in player.result.sides] == ["ot", "trig", "ve"]
    assert set(player.scripts) == {"scene", "player"}


def test_a_wrong_setting_is_one_sentence():
    with pytest.raises(ValueError, match="nfe must be in 1"):
        notebook.compare(nfe=0)
    with pytest.raises(ValueError, match="Did you mean 'moons'"):
        notebook.compare("mons")
    with pytest.raises(ValueError, match="networks must be a list; got None"):
        notebook.compare(networks=None)
    with pytest.raises(ValueError, match=r"Unknown field \[\]"):
        notebook.compare(field=[])
    with pytest.raises(ValueError, match=r"nfe must be in 1.* got 1000"):
        notebook.compare(nfe=10**400)
    with pytest.raises(ValueError, match="A path must be a text such as 'ot'; got None"):
        notebook.compare("moons", None, "vp")
    with pytest.raises(ValueError, match=r"A data set must be a text such as 'moons'; got 1\.5"):
        notebook.compare(1.5)


@pytest.mark.e2e
def test_the_script_draws_the_player_and_reports_the_view(player, chromium):
    page = chromium.new_page(viewport={"width": 1100, "height": 800})
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.set_content("<!doctype html><style>:root { --jp-layout-color0: #111; }</style>")
    state = {name: getattr(player, name) for name in ("_css", "html", "scripts", "view")}
    state["mounts"] = [{"canvas": each["canvas"]} for each in player.mounts]
    payloads = [base64.b64encode(each["payload"]).decode() for each in player.mounts]
    page.evaluate(MODEL, [base64.b64encode(player._esm.encode()).decode(), state, payloads])
    assert page.locator(".fv-panels figure").count() == 3
    page.wait_for_selector(".fv[data-theme=dark]")  # as in the notebook's theme
    page.get_by_role("button", name="Trails").click()
    page.wait_for_function("saved.some((view) => view.layers.includes('trails'))")
    page.evaluate("end()")
    assert page.locator(".fv").count() == 0
    page.close()
    assert not noise, noise
