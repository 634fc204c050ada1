"""The choice of a data set: built-in, a word, placed Gaussians, an upload or a drawing.

The URL has the whole choice as one spec (see `flowviz.datasets`). Uploads and drawings are stored
by their content, so that a link works again on the same server.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.runtime.uploaded_file_manager import UploadedFile

from flowviz import datasets
from flowviz.datasets import DATASETS, PICTURE_SUFFIXES, TABLE_SUFFIXES, Dataset, is_linkable
from flowviz.datasets.mixture import MAX_MEANS, STD_RANGE, mixture_spec
from flowviz.datasets.points import COUNT, MAX_NODES
from flowviz.datasets.tables import NO_LABEL
from flowviz.datasets.uploads import (
    MAX_BYTES,
    Reading,
    chosen_points,
    open_table,
    parse,
    store,
)
from flowviz.datasets.word import MAX_LETTERS
from flowviz.distributions import GaussianMixture
from flowviz.draws import stream
from flowviz.ui import state
from flowviz.ui.notices import escaped, failing
from flowviz.ui.pad import draw_pad, means_pad

SLUG = "data"
WORD = "FLOW"
MIXTURE = "mixture:-2.5,-1.5;2.5,-1.5;0,2.5@0.4"
CHOICES = ("x", "y", "header", "light", "label")
"""The fields of `Reading`, each with a control."""
FROM = "from-"
"""Prefix of the keys of the controls of the data set at t = 0."""
SHOWN_POINTS = 600
"""Number of shown points of an earlier drawing."""


@st.cache_resource(max_entries=32, show_spinner=False)
def dataset(spec: str) -> Dataset:
    """`flowviz.datasets.dataset`, with or without a source, cached for all visitors."""
    return datasets.dataset(spec, sources=True)


@st.cache_data(max_entries=32, show_spinner=False)
def points(spec: str, n: int) -> NDArray[np.float32]:
    """n points of a data set, (n, 2), deterministic."""
    return dataset(spec).sample(n, stream(0, "preview")).numpy()


@st.cache_data(max_entries=32, show_spinner=False)
def classes(spec: str, n: int) -> NDArray[np.int64] | None:
    """The classes of these `points`, (n,); None without classes."""
    return dataset(spec).sampled_classes(n, stream(0, "preview"))


def pick(default: str = "checkerboard", *, help: str | None = None, sources: bool = False) -> str:
    """Draws the controls and returns the spec of the chosen data set.

    For an invalid choice an error is shown, and the previous choice is kept.

    Args:
        default: spec of the first choice.
        help: of the menu.
        sources: whether the page can start from another data set than noise: it then has a menu
            of the source, too, and the spec can be that of a pair.
    """
    spec = state.opened(SLUG, default, partial(_linked, sources=sources))
    if not state.is_drawn(SLUG):
        return state.keep(SLUG, spec, default)
    source, data = datasets.parted(spec)
    if st.session_state.get(_key("followed")) != spec or _key("kind") not in st.session_state:
        # The choice came from a link, not from these menus.
        st.session_state[_key("kind")] = _kind(data)
        st.session_state[_key(f"{FROM}kind")] = _kind(source)
        for part in ("word", "std", f"{FROM}word", f"{FROM}std"):
            st.session_state.pop(_key(part), None)
    if sources:
        source = _pick_source(source, data, default)
    chosen = datasets.joined(source, _pick_data(data, help))
    st.session_state[_key("followed")] = chosen
    return state.keep(SLUG, chosen, default)


def _pick_source(source: str, data: str, default: str) -> str:
    """Draws the menu of the data set at t = 0; returns its spec, "" for Gaussian noise."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    kind = row.selectbox(
        "From",
        ["", *DATASETS, *_CUSTOM],
        format_func=_name,
        key=_key(f"{FROM}kind"),
        help="The distribution of the particles at t = 0.",
    )
    chosen = _chosen(kind, source, FROM)
    if chosen and _kind(chosen) != kind:
        st.caption(f"Current start: {escaped(dataset(chosen).label)}.")
    row.button(
        ":material/swap_vert:",
        key=_key("swap"),
        help="Swap the two data sets",
        on_click=state.keep,
        args=(SLUG, datasets.joined(data, chosen), default),
        disabled=not chosen,
    )
    return chosen


def _pick_data(spec: str, help: str | None) -> str:
    """Draws the controls of the data set at t = 1; returns its spec."""
    kind = st.selectbox(
        "Data set",
        [*DATASETS, *_CUSTOM],
        format_func=_name,
        key=_key("kind"),
        help=help or "The distribution of the particles at t = 1.",
    )
    chosen = _chosen(kind, spec, "")
    if _kind(chosen) != kind:
        st.caption(f"Current data set: {escaped(dataset(chosen).label)}.")
    else:
        st.caption(escaped(dataset(chosen).sentence))
    return chosen


def _name(kind: str) -> str:
    """An entry of the menus, "" for noise."""
    if not kind:
        return "Gaussian noise"
    return _CUSTOM[kind][0] if kind in _CUSTOM else DATASETS[kind].label


def _chosen(kind: str, spec: str, prefix: str) -> str:
    """The spec of an entry of a menu; draws its controls, whose keys have the prefix.

    The last one, `spec`, stays where the controls have no valid choice, which an error says.
    """
    if not kind or kind in DATASETS:
        return kind
    with failing():
        chosen = _CUSTOM[kind][1](spec, prefix)
        if chosen:
            dataset(chosen)
        return chosen
    return spec


def _linked(spec: str, *, sources: bool) -> str:
    """The spec of a link, checked.

    Raises:
        ValueError: it is invalid, only a local file has its data, or it has a source and must not.
    """
    if not is_linkable(spec):
        names = ", ".join(DATASETS)
        raise ValueError(
            f"there is no data set {spec[:40]!r} that a link may name; there are {names}, and "
            "word:, mixture:, points:, picture:, drawing:, samples:"
        )
    datasets.dataset(spec, sources=sources)
    return spec


def _word(spec: str, prefix: str) -> str:
    text = st.text_input(
        "Word",
        spec.removeprefix("word:") if _kind(spec) == "word" else WORD,
        max_chars=MAX_LETTERS,
        key=_key(f"{prefix}word"),
        help=f"Up to {MAX_LETTERS} letters, filled with a uniform density.",
    )
    return f"word:{' '.join(text.split())}"


def _mixture(spec: str, prefix: str) -> str:
    spec = spec if _kind(spec) == "mixture" else MIXTURE
    means_text, std = spec.removeprefix("mixture:").split("@")
    std = st.slider(
        "Standard deviation",
        *STD_RANGE,
        float(std),
        step=0.02,
        key=_key(f"{prefix}std"),
        help="Of each Gaussian, the same in all directions.",
    )
    means = [(float(x), float(y)) for x, y in (each.split(",") for each in means_text.split(";"))]
    new_means = means_pad(means, std=std, max_means=MAX_MEANS, key=_key(f"{prefix}means"))
    st.caption("Click to add, drag to move, double click to remove.")
    return mixture_spec([(round(x, 2), round(y, 2)) for x, y in new_means or means], std)


def _upload(spec: str, prefix: str) -> str:
    file = st.file_uploader(
        "CSV or picture",
        [suffix.removeprefix(".") for suffix in TABLE_SUFFIXES + PICTURE_SUFFIXES],
        key=_key(f"{prefix}file"),
        max_upload_size=MAX_BYTES // 1_000_000,
        help=f"A table (text, ARFF, JSON or NumPy) with two columns of numbers and {COUNT[0]} to "
        f"{COUNT[1]:,} rows, or a picture whose dark pixels are sampled. It is shifted and scaled "
        "to the frame.",
    )
    if file is None:
        return spec
    upload = st.session_state.get(_key(f"{prefix}taken"))
    if upload is None or upload.file_id != file.file_id:
        for part in CHOICES:
            st.session_state.pop(_key(prefix + part), None)
        upload = None
    reading = _corrected(prefix)
    if upload is None or upload.reading != reading:
        upload = _read_upload(file, reading)
        st.session_state[_key(f"{prefix}taken")] = upload
    _show_upload(upload, prefix)
    if upload.error:
        raise ValueError(upload.error)
    return upload.spec


@dataclass(frozen=True)
class _Upload:
    """What was read from an uploaded file.

    Attributes:
        file_id: identifies the upload.
        reading: how it was read, with all choices made.
        spec: of the stored data set, if there is no error.
        note: what was taken.
        error: why nothing was taken.
        columns: the names of the columns of numbers of a table, by their number from 1.
        labels: the names of the columns that can be labels, likewise.
        has_header: whether the user can choose if the first row is a header.
        ink: the sampled pixels of a picture, dark on white.
    """

    file_id: str
    reading: Reading
    spec: str = ""
    note: str = ""
    error: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    has_header: bool = False
    ink: NDArray[np.uint8] | None = None


def _corrected(prefix: str) -> Reading:
    """How the controls below the upload say that it is read."""
    chosen: dict[str, Any] = {p: st.session_state.get(_key(prefix + p)) for p in CHOICES}
    chosen["light"] = bool(chosen["light"])
    return Reading(**chosen)


def _read_upload(file: UploadedFile, reading: Reading) -> _Upload:
    """Reads and stores an upload."""
    upload = _Upload(file.file_id, reading)
    try:
        if PurePath(file.name).suffix.lower() in PICTURE_SUFFIXES:
            content = parse(file.name, file.getvalue(), reading)
            upload = replace(upload, ink=255 - content.array)
        else:
            table = open_table(file.name, file.getvalue(), reading.header)
            names = {str(k + 1): table.names[k] for k in table.numeric}
            labels = {str(k + 1): table.names[k] for k in table.labels}
            if reading.x not in names or reading.y not in names:
                x, y = table.columns
                reading = replace(reading, x=str(x + 1), y=str(y + 1))
            label_columns = [NO_LABEL, *(k for k in labels if k not in (reading.x, reading.y))]
            if reading.label not in label_columns:
                reading = replace(reading, label=(label_columns[1:] or label_columns)[0])
            if table.optional_header:
                reading = replace(reading, header=table.header is not None)
            upload = replace(
                upload,
                reading=reading,
                columns=names,
                labels={k: labels.get(k, k) for k in label_columns},
                has_header=table.optional_header,
            )
            content = chosen_points(table, reading)
        return replace(upload, spec=store(content), note=content.note)
    except ValueError as error:
        return replace(upload, error=str(error))


def _show_upload(upload: _Upload, prefix: str) -> None:
    """What was taken from an upload, and controls that correct it."""
    if upload.ink is not None:
        st.image(upload.ink, width=160, caption="Sampled pixels")
        st.toggle(
            "Sample light pixels",
            key=_key(f"{prefix}light"),
            help="For light lines on a dark background.",
        )
    if upload.columns:
        for part, column in zip(("x", "y"), st.columns(2), strict=True):
            st.session_state[_key(prefix + part)] = getattr(upload.reading, part)
            column.selectbox(
                f"Column of {part}",
                list(upload.columns),
                format_func=upload.columns.__getitem__,
                key=_key(prefix + part),
            )
    if len(upload.labels) > 1:
        st.session_state[_key(f"{prefix}label")] = upload.reading.label
        st.selectbox(
            "Label column",
            list(upload.labels),
            format_func=upload.labels.__getitem__,
            key=_key(f"{prefix}label"),
            help="Its values give the data points their colours. Training does not use them.",
        )
    if upload.has_header:
        st.session_state[_key(f"{prefix}header")] = upload.reading.header
        st.toggle(
            "First row names the columns",
            key=_key(f"{prefix}header"),
            help="Judged by this row and by what follows.",
        )
    if upload.note:
        st.caption(escaped(f"Read: {upload.note}."))


def _draw(spec: str, prefix: str) -> str:
    beneath = []
    if spec.startswith("drawing:"):
        drawing = dataset(spec).distribution
        assert isinstance(drawing, GaussianMixture)
        nodes = drawing.means
        beneath = nodes[:: max(1, -(-len(nodes) // SHOWN_POINTS))].tolist()
    new_nodes = draw_pad(
        beneath, min_points=COUNT[0], max_points=MAX_NODES, key=_key(f"{prefix}pad")
    )
    return spec if new_nodes is None else datasets.draw(new_nodes)


_CUSTOM: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "word": ("A word that you type", _word),
    "mixture": ("Gaussians that you place", _mixture),
    "upload": ("Your own file", _upload),
    "draw": ("Your own drawing", _draw),
}
"""Data sets of the user: name in the menu, and controls that map the old spec to the new one.

The controls take the prefix of their keys, too.
"""


KINDS = {"points": "upload", "picture": "upload", "samples": "upload", "drawing": "draw"}
"""The menu's entries of stored data."""


def _kind(spec: str) -> str:
    """The menu's entry of a spec."""
    kind = spec.partition(":")[0]
    return KINDS.get(kind, kind)


def _key(part: str) -> str:
    return f"{st.session_state['url:page']}:{SLUG}:{part}"
