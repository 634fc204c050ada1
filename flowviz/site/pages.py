"""The pages of the static site, and the files of the weights that they load when needed."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from flowviz import checkpoints
from flowviz.canvases import shaper as canvas
from flowviz.canvases.page import as_text, canvas_html, page
from flowviz.canvases.player import View, colours
from flowviz.canvases.wire import encode
from flowviz.datasets import DATASETS, FRAME, dataset
from flowviz.experiments.fields import FieldRef
from flowviz.experiments.schedules import presets
from flowviz.fields import LearnedField
from flowviz.files import write_bytes
from flowviz.glossary import term
from flowviz.networks import MLP
from flowviz.presets import PRESETS, Preset
from flowviz.schedulers import SCHEDULERS, SIGMA_STOP, Shaped
from flowviz.site import parameters
from flowviz.site.lectures import PAGES, entries, is_shown, outline

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

MENU = {"index": "<b>flowviz</b>", **PAGES, "lecture": "Lectures"}
"""The pages in the order of the navigation, by their files."""

INSTEAD = {
    "word": {"open": "compare?data=word:FLOW", "title": "A word", "text": "Noise becomes a word."},
    "densities": {"open": "compare?layers=density&layout=strip"},
}
"""What cards of the site show in place of those of the app, by the name of the picture."""

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


def live_page(name: str) -> bytes:
    """A page that computes, by its name in `PAGES`, or "lecture"."""
    title, canvas, text, content = _LIVE[name]
    canvases = [
        ("lecture", b""),
        ("live", encode({"page": name, "lectures": entries(), **content()})),
        *([(canvas, b"")] if canvas else []),
    ]
    note = f'<p class="note">{text}</p>' if text else ""
    body = canvas_html(canvases) + (outline() if name == "lecture" else "") + note
    return page(title, body, canvases=canvases, nav=nav(name))


def nav(current: str) -> str:
    """The links to all pages."""
    items = "\n".join(
        f'<a href="{name}.html"{" aria-current=page" * (name == current)}>{title}</a>'
        for name, title in MENU.items()
    )
    return f'<nav class="site" aria-label="Pages">\n{items}\n</nav>'


def home_page() -> bytes:
    """The home page: what flow matching is, the app's cards, and the data sets."""
    cards = "\n".join(_card(each) for each in PRESETS)
    sets = "\n".join(
        f'<li><a href="compare.html?data={quote(spec)}">{escape(dataset(spec).label)}</a>: '
        f"{escape(dataset(spec).sentence)}</li>"
        for spec in DATA
    )
    body = Template(_HOME).substitute(cards=cards, sets=sets)
    return page("flowviz: flow matching, computed in your browser", body, nav=nav("index"))


def _card(preset: Preset) -> str:
    """A card, with a link if the site can show its view."""
    picture = base64.b64encode(preset.file.read_bytes()).decode()
    preset = replace(preset, **INSTEAD.get(preset.picture, {}))
    content = (
        f'<img src="data:image/webp;base64,{picture}" alt="{escape(preset.alt)}">'
        f"<b>{escape(preset.title)}</b><span>{escape(preset.text)}</span>"
    )
    if not is_shown(preset.open):
        return f'<div class="card still">{content}<i>In the app</i></div>'
    name, _, query = preset.open.partition("?")
    return f'<a class="card" href="{name}.html?{escape(query)}">{content}</a>'


def model() -> parameters.Entry:
    """All that the engine and the controls need, but the networks' weights."""
    return {
        "kind": "live",
        "frame": FRAME,
        "data": {spec: parameters.data_set(dataset(spec)) for spec in DATA},
        "paths": {spec: parameters.path(spec) for spec in SCHEDULERS},
        "methods": parameters.methods(),
        "networks": {f"{ref.data}/{ref.path_spec}": name for name, ref in networks().items()},
        "shaper": shaper(),
        "initial": VALUES,
        "view": vars(View()),
        "theme": colours(),
        "terms": {"nfe": term("nfe").sentence},
    }


def shaper() -> parameters.Entry:
    """The schedule that the reader shapes."""
    shape = canvas.content(Shaped().values, presets(), min_step=Shaped.MIN_STEP)
    return {**shape, "stop": SIGMA_STOP}


def networks() -> dict[str, FieldRef]:
    """The shipped network of each data set and path that the pages can evaluate, by its name."""
    fields = {}
    for card in checkpoints.listing():
        if card.name == f"{card.data}-{card.path}" and card.path in SCHEDULERS:
            ref = FieldRef.of(card.name)
            if isinstance(ref.field, LearnedField) and isinstance(ref.field.network, MLP):
                fields[card.name] = ref
    return fields


def weights_script(name: str, ref: FieldRef) -> bytes:
    """A script that stores a network of `networks` as a text: file: pages load only scripts."""
    text = as_text(encode(parameters.network(ref.field)))
    return (
        "(globalThis.flowvizWeights ??= new Map())"
        f".set({json.dumps(name)}, {json.dumps(text)});\n".encode()
    )


def _files() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name of each file and the function that makes it."""
    yield "index.html", home_page
    for name in _LIVE:
        yield f"{name}.html", lambda name=name: live_page(name)
    for name, ref in networks().items():
        yield f"{WEIGHTS}/{name}.js", lambda name=name, ref=ref: weights_script(name, ref)


_HOME = """
<p>Flow matching trains a network to be a velocity field that carries noise to data. To draw a
sample, start at a noise point and follow the field from t = 0 to t = 1. Here two paths from the
same noise to the same data run side by side, computed in this page: change the data set, the
paths, the solver, the number of evaluations (NFE) or the seed, and see what changes.</p>
<p><a class="open" href="compare.html">Open Compare</a>
<a class="open" href="lecture.html">Start a lecture</a></p>
<h2>Try this first</h2>
<div class="cards">
<a class="card" href="compare.html?solver=euler&amp;nfe=1&amp;t=1"><b>One evaluation</b><span>On
conditional OT, a single step of Euler's method ends near the mean of the data. Then drag
NFE.</span></a>
<a class="card" href="why.html"><b>Why training works</b><span>Drag a point: the velocities of all
pairs through it, and their mean.</span></a>
<a class="card" href="nfe_quality.html"><b>What samples cost</b><span>Error and quality against the
number of evaluations, measured while you watch.</span></a>
<a class="card" href="schedules.html"><b>Your own schedule</b><span>Shape signal and noise over
time, then compare your path with OT.</span></a>
<a class="card" href="compare.html?field=learned&amp;n=600"><b>Learned fields</b><span>The shipped
networks in place of the closed form, with 600 particles.</span></a>
$cards
</div>
<h2>Data sets</h2>
<ul>
$sets
</ul>
<p class="note">The Python package has more: training, images, likelihoods, samplers with noise and
studies of the claims of the paper.</p>
"""
_LIVE = {
    "compare": (
        "Two paths from noise to data",
        "player",
        "Both sides start from the same noise. Everything is computed in this page, with the "
        "parameters of the Python package: exact fields by their closed form in double precision, "
        "learned fields by the shipped networks in single precision. A seed gives the same noise "
        "and the same end points as in the app. Adaptive solvers, learned densities, quality over "
        "time and training are in the app.",
        model,
    ),
    "why": (
        "Vector field: conditional and marginal velocities",
        "touch",
        "Drag the point. The arrows are the velocities of single pairs of noise and data "
        "(conditional), the strong arrow is their mean (marginal). A network that is trained on "
        "single velocities learns this mean.",
        model,
    ),
    "schedules": (
        "Schedules: signal and noise over time",
        "shaper",
        "",
        model,
    ),
    "nfe_quality": (
        "NFE and quality: error against cost",
        "",
        "Exact fields from the same noise. The error is the mean squared distance per dimension "
        "to the end points of 100 steps of RK4, even in log(α/σ). The energy distance compares "
        "the samples with 1,000 points of the data, so that it does not fall to 0.",
        model,
    ),
    "lecture": ("Lectures", "", "", lambda: {"kind": "live"}),
}
"""Title, canvas, note and model of each page that computes."""
