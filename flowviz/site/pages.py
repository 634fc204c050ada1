"""The pages of the static site, and the files of the weights that they load when needed."""

import base64
import json
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from flowviz import checkpoints
from flowviz.canvases.page import as_text, page, places
from flowviz.canvases.player import View, colours
from flowviz.canvases.wire import encode
from flowviz.datasets import DATASETS, FRAME, dataset
from flowviz.experiments.fields import FieldRef
from flowviz.fields import LearnedField
from flowviz.files import write_bytes
from flowviz.glossary import term
from flowviz.networks import MLP
from flowviz.presets import PRESETS, Preset
from flowviz.schedulers import SCHEDULERS
from flowviz.site import parameters

__all__ = ["write_site"]

DATA = (*DATASETS, "word:FLOW")
"""Specs of the data sets that the pages offer."""

VALUES: parameters.Entry = {
    "data": "checkerboard",
    "left": "ot",
    "right": "vp",
    "field": "exact",
    "solver": "midpoint",
    "nfe": 20,
    "seed": 0,
    "n": 2_000,
}
"""The values of the controls of Compare, by their names in a link."""

WEIGHTS = "weights"
"""The folder of the networks."""


def write_site(
    folder: Path, progress: Callable[[str], None] = lambda name: None
) -> dict[str, int]:
    """Writes all files of the site below a folder, which is created.

    Args:
        folder: files of earlier sites in it are replaced.
        progress: called with the name of each file before it is made.

    Returns:
        The number of bytes of each file by its name.
    """
    (folder / WEIGHTS).mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, make in _files():
        progress(name)
        content = make()
        write_bytes(folder / name, content)
        sizes[name] = len(content)
    return sizes


def compare_page() -> bytes:
    """Compare: two flows from the same noise, computed in the page."""
    canvases = [("live", encode(model())), ("player", b"")]
    return page(
        "flowviz: two paths from noise to data", places(canvases) + _NOTE, canvases=canvases
    )


def home_page() -> bytes:
    """The home page: what flow matching is, and links to views of Compare."""
    cards = "\n".join(_card(each) for each in PRESETS if opens(each))
    sets = "\n".join(
        f'<li><a href="compare.html?data={quote(spec)}">{escape(dataset(spec).label)}</a>: '
        f"{escape(dataset(spec).sentence)}</li>"
        for spec in DATA
    )
    body = Template(_HOME).substitute(cards=cards, sets=sets)
    return page("flowviz: flow matching, computed in your browser", body)


def opens(preset: Preset) -> bool:
    """Whether Compare of the site can show the view of a card of the app's home page."""
    needs_app = "lecture" in preset.link or "difference" in preset.link.get("layers", "")
    typed = preset.link.get("data", "").startswith("word:")
    return preset.page == "compare" and not needs_app and not typed


def _card(preset: Preset) -> str:
    picture = base64.b64encode(preset.file.read_bytes()).decode()
    _, _, query = preset.open.partition("?")
    return (
        f'<a class="card" href="compare.html?{escape(query)}">'
        f'<img src="data:image/webp;base64,{picture}" alt="{escape(preset.alt)}">'
        f"<b>{escape(preset.title)}</b><span>{escape(preset.text)}</span></a>"
    )


def model() -> parameters.Entry:
    """All that the engine and the controls of Compare need, but the networks' weights."""
    return {
        "kind": "live",
        "frame": FRAME,
        "data": {spec: parameters.data_set(dataset(spec)) for spec in DATA},
        "paths": {spec: parameters.path(spec) for spec in SCHEDULERS},
        "methods": parameters.methods(),
        "networks": {f"{ref.data}/{ref.path_spec}": name for name, ref in networks().items()},
        "initial": VALUES,
        "view": vars(View()),
        "theme": colours(),
        "terms": {"nfe": term("nfe").sentence},
    }


def networks() -> dict[str, FieldRef]:
    """The shipped network of each data set and path that the pages can evaluate, by its name."""
    found = {}
    for card in checkpoints.listing():
        if card.name == f"{card.data}-{card.path}" and card.path in SCHEDULERS:
            ref = FieldRef.of(card.name)
            if isinstance(ref.field, LearnedField) and isinstance(ref.field.network, MLP):
                found[card.name] = ref
    return found


def weights_script(name: str, field: LearnedField) -> bytes:
    """A script that stores a network as a text: pages of file: may load scripts only."""
    text = as_text(encode(parameters.network(field)))
    return (
        "(globalThis.flowvizWeights ??= new Map())"
        f".set({json.dumps(name)}, {json.dumps(text)});\n".encode()
    )


def _files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name of each file and the function that makes it."""
    yield "index.html", home_page
    yield "compare.html", compare_page
    for name, ref in networks().items():
        yield f"{WEIGHTS}/{name}.js", lambda name=name, ref=ref: weights_script(name, ref.field)


_HOME = """
<p>Flow matching trains a network to be a velocity field that carries noise to data. To draw a
sample, start at a noise point and follow the field from t = 0 to t = 1. Here two paths from the
same noise to the same data run side by side, computed in this page: change the data set, the
paths, the solver, the number of evaluations (NFE) or the seed, and see what changes.</p>
<p><a class="open" href="compare.html">Open Compare</a></p>
<h2>Try this first</h2>
<div class="cards">
$cards
<a class="card" href="compare.html?solver=euler&amp;nfe=1&amp;t=1"><b>One evaluation</b><span>On
conditional OT, a single step of Euler's method ends near the mean of the data. Then drag
NFE.</span></a>
<a class="card" href="compare.html?data=8gaussians&amp;left=trig&amp;right=ve&amp;t=0.5"><b>Other
schedules</b><span>The trigonometric path and VE diffusion, halfway.</span></a>
<a class="card" href="compare.html?field=learned&amp;n=600"><b>Learned fields</b><span>The shipped
networks in place of the closed form, with 600 particles.</span></a>
</div>
<h2>Data sets</h2>
<ul>
$sets
</ul>
<p class="note">The Python package has more: training, images, likelihoods, lectures and studies
of the claims of the paper.</p>
"""
_NOTE = """
<p class="note"><a href="index.html">Home</a></p>
<p class="note">Both sides start from the same noise. Everything is computed in this page,
with the parameters of the Python package: exact fields by their closed form in double precision,
learned fields by the shipped networks in single precision. A seed gives the same noise and the
same end points as in the app. Adaptive solvers, learned densities, quality over time and training
are in the app.</p>
"""
