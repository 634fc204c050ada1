"""The player in Jupyter, VS Code, marimo and Colab: `pip install flowviz[notebook]`.

    from flowviz.notebook import compare
    compare("checkerboard", "ot", "vp", "trig", nfe=8)

Studies need no widget: their figures are Plotly's, which notebooks show.
"""

from typing import Any

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(
        "flowviz.notebook needs anywidget, which is not installed; use pip install "
        "'flowviz[notebook]'."
    ) from error

from flowviz.canvases import assets
from flowviz.canvases.page import canvas_html
from flowviz.studies import STUDIES
from flowviz.studies._flow import CompareConfig, CompareResult
from flowviz.studies._player import payloads

__all__ = ["Player", "compare"]

RESERVE = 240
"""Height in pixels that the controls of the player take in a window."""


class Player(anywidget.AnyWidget):
    """The player of two to four flows, with the same controls as on the page Compare.

    Attributes:
        result: the flows, the result of the study `flow`.
        view: what the visitor sees: t, layers, density, mode, layout and speed; empty before the
            first change. `observe` reports changes.
    """

    _esm = traitlets.Unicode(assets("widget")["js"]).tag(sync=True)
    _css = traitlets.Unicode("").tag(sync=True)
    html = traitlets.Unicode("").tag(sync=True)
    scripts = traitlets.Dict().tag(sync=True)
    mounts = traitlets.List().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, result: CompareResult, **options: Any) -> None:
        scenes, player = payloads(result, reserve=RESERVE)
        mounts = [*(("scene", each) for each in scenes), ("player", player)]
        files = {name: assets(name) for name in ("widget", *dict(mounts))}
        super().__init__(
            _css="\n".join(each["css"] for each in files.values()),
            html=files["widget"]["html"].replace("></div>", f">{canvas_html(mounts)}</div>"),
            scripts={name: each["js"] for name, each in files.items() if name != "widget"},
            mounts=[{"canvas": name, "payload": payload} for name, payload in mounts],
            **options,
        )
        self.result = result


def compare(data: str = "checkerboard", *paths: str, **settings: Any) -> Player:
    """Two to four flows of the same noise to the same data, side by side under one clock.

    Args:
        data: spec of the data set.
        paths: specs of the paths, one a panel; by default conditional OT and VP diffusion.
        settings: further settings of the study `flow`, such as nfe, field, solvers and seed.

    Raises:
        ValueError: a setting is not valid, or a solve fails.
    """
    study = STUDIES["flow"]
    chosen = {"paths": paths} if paths else {}
    return Player(study.result(CompareConfig(data=data, **chosen, **settings)))
