"""The pages of the static site, and the files of the weights that they load when needed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from flowviz import checkpoints
from flowviz.canvases.page import as_text, page, places
from flowviz.canvases.player import View, colours
from flowviz.canvases.wire import encode
from flowviz.datasets import DATASETS, FRAME, dataset
from flowviz.experiments.fields import FieldRef
from flowviz.fields import LearnedField
from flowviz.files import write_bytes
from flowviz.glossary import term
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
            if isinstance(ref.field, LearnedField):
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
    yield "compare.html", compare_page
    for name, ref in networks().items():
        yield f"{WEIGHTS}/{name}.js", lambda name=name, ref=ref: weights_script(name, ref.field)


_NOTE = """
<p class="note">Both sides start from the same noise. Everything is computed in this page, in
double precision, with the parameters of the Python package: exact fields by their closed form,
learned fields by the networks that flowviz ships. The end points agree with those of Python for
the same noise; the noise of a seed comes from another generator here. Adaptive solvers, learned
densities, quality over time and training are in the app.</p>
"""
