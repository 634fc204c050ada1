"""The upload of Compare: a checkpoint of the plane, or a plain network of another project."""

import io
from typing import Any

import streamlit as st

from flowviz.checkpoints import Card, CheckpointError, opened
from flowviz.checkpoints.container import is_own
from flowviz.checkpoints.foreign.plain import UNKNOWN, PlainAssumptions
from flowviz.checkpoints.lookup import OPENED
from flowviz.checkpoints.weights import MAX_BYTES
from flowviz.datasets import DATASETS
from flowviz.networks import ACTIVATIONS
from flowviz.schedulers import SCHEDULERS
from flowviz.ui import cache, paths, state, widgets
from flowviz.ui.notices import escaped, failing

SUFFIXES = ["safetensors", "pt", "pth"]
TAKEN = "compare-checkpoint:taken"
"""Session state: the id of the upload that was read last."""


def opener() -> None:
    """Draws an upload of a checkpoint, which then opens on the left side."""
    with st.expander("Open your checkpoint"):
        file = st.file_uploader(
            "A checkpoint of the plane",
            type=SUFFIXES,
            key="compare-checkpoint",
            max_upload_size=MAX_BYTES // 2**20,
            help="One that flowviz wrote, or the state_dict of a plain network of [x, t], as the "
            "tutorials of torchcfm and flow_matching train. Nothing in a file is executed.",
        )
        _assumed()
        if file is None:
            return
        if _is_ours(file):
            _read(file, None)
        else:
            _form(file)


def _is_ours(file: io.BytesIO) -> bool:
    """Whether a file is safetensors with a card of flowviz, by its header."""
    try:
        return is_own(file.getvalue())
    except CheckpointError:
        return True  # whose error is the better sentence


def _form(file: Any) -> None:
    """Asks what the weights of another project do not state, and opens them."""
    with st.form("compare-plain", border=False):
        st.markdown("A network of another project. What its weights do not state:")
        path = widgets.menu("Path of its training", SCHEDULERS.labels)
        unknown = {UNKNOWN: "unknown: no exact field"}
        data = widgets.menu("Data set of its training", unknown | DATASETS.labels)
        layout = {"": "as the names of its layers say"}
        activation = widgets.menu("Activation", layout | ACTIVATIONS.labels)
        if st.form_submit_button("Open"):
            st.session_state.pop(TAKEN, None)
            _read(file, PlainAssumptions(path=path, data=data, activation=activation))


def _read(file: Any, assume: PlainAssumptions | None) -> None:
    """Stores an upload, once, and opens it; a file that is refused changes nothing."""
    if st.session_state.get(TAKEN) == file.file_id:
        return
    st.session_state[TAKEN] = file.file_id
    content = file.getvalue()
    with failing():
        if assume is None:
            card = opened.keep(content, file.name)
        else:
            card = opened.keep_plain(content, file.name, assume)
        cache.open_checkpoint(card)
        state.follow("compare", _link(card))


def _link(card: Card) -> dict[str, str]:
    """The query of Compare with a network on the left; of unknown data on both sides."""
    chosen = {"data": card.data, "field": "learned", "left-network": card.name}
    if card.data.startswith("samples:"):
        return chosen | {"right-network": card.name} | paths.link(left=card.path, right=card.path)
    return chosen | paths.link(left=card.path, right="vp" if card.path == "ot" else "ot")


def _assumed() -> None:
    """What was assumed about the networks of other projects that the link names."""
    for name in dict.fromkeys(st.query_params.to_dict().values()):
        card = cache.cards().get(name) if OPENED.fullmatch(name) else None
        if card is not None and "about" in card.network:
            st.caption(escaped(card.network["about"], limit=None))
