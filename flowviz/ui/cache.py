"""What pages share: payloads of the player, loaded networks, and the fields of a session.

A field that was trained in a session has no file; its name is a hash of its content.
"""

import hashlib
from collections.abc import Iterable, Sequence

import streamlit as st

from flowviz import checkpoints
from flowviz.canvases import player as players
from flowviz.checkpoints import opened
from flowviz.experiments.evolution import FlowConfig, SceneConfig, compute_scene
from flowviz.fields import LearnedField
from flowviz.ui import results
from flowviz.ui.notices import escaped

LISTED_SECONDS = 5
"""Time for which a listing of checkpoints is used again."""

MAX_ADOPTED = 16
"""Trained fields of a session without a file."""


scene = results.cached(compute_scene)


@st.cache_data(max_entries=64, show_spinner=False)
def panels(configs: tuple[FlowConfig, ...], _panels: Sequence[players.Panel]) -> bytes:
    """The player's payload of panels that follow from these configs."""
    return players.pack(_panels)


@st.cache_data(max_entries=24, show_spinner=False)
def packed_scene(config: SceneConfig, _scene: players.Scene) -> bytes:
    """The player's payload of the scene that follows from a config."""
    return players.pack_scene(_scene)


def cards() -> dict[str, checkpoints.Card]:
    """The checkpoints of this visit by name: the visitor's own and those on this machine.

    A damaged file is skipped with a notice.
    """
    listed, damages = _listing()
    notify_damages(damages)
    return _opened() | listed


def open_checkpoint(card: checkpoints.Card) -> None:
    """Lists a checkpoint of `flowviz.checkpoints.opened` in this visit."""
    known = st.session_state.setdefault("cards:opened", {})
    known.pop(card.name, None)
    known[card.name] = card


def _opened() -> dict[str, checkpoints.Card]:
    """The checkpoints that this visit opened, or its link names, the newest first."""
    known = st.session_state.get("cards:opened", {})
    for name in st.query_params.to_dict().values():
        if name not in known and (card := opened.recall(name)):
            open_checkpoint(card)
    return dict(reversed(st.session_state.get("cards:opened", {}).items()))


def notify_damages(damages: Iterable[str]) -> None:
    """Shows a notice for each damaged checkpoint, once per session."""
    notified = st.session_state.setdefault("cards:shown", set())
    for damage in damages:
        if damage not in notified:
            notified.add(damage)
            st.toast(f"A checkpoint was skipped. {escaped(damage)}", icon=":material/error:")


@st.cache_data(ttl=LISTED_SECONDS, show_spinner=False)
def _listing() -> tuple[dict[str, checkpoints.Card], list[str]]:
    damages: list[str] = []
    listed = checkpoints.listing(lambda error: damages.append(str(error)))
    return {card.name: card for card in listed}, damages


def content_name(field: LearnedField) -> str:
    """The name of a field: "live:" and a hash of its weights, path and objective."""
    digest = hashlib.sha256(repr((field.path, field.objective.label, field.std)).encode())
    for name, tensor in field.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return f"live:{digest.hexdigest()[:16]}"


def adopt(data: str, path: str, field: LearnedField) -> None:
    """Stores a field that was trained in this session, for the Compare page.

    The last MAX_ADOPTED are kept.

    Args:
        data: spec of the data set that it was trained on.
        path: spec of its path.
        field: it must not change afterwards; pass a copy of a field in training.
    """
    fields = st.session_state.setdefault("live:fields", {})
    fields.pop((data, path), None)
    fields[data, path] = (content_name(field), field)
    while len(fields) > MAX_ADOPTED:
        del fields[next(iter(fields))]


def adopted(data: str, path: str) -> tuple[str, LearnedField] | None:
    """The name and the field of this session for a data set and a path, if any."""
    return st.session_state.get("live:fields", {}).get((data, path))
