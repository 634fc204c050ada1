"""What the pages compute, once for everybody who asks the same.

Results are kept by their flat configs and made without a spinner, for they take a blink. A field
that was trained in a session has no file; it is named by its content and handed over beside the
config.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from flowviz import checkpoints
from flowviz.canvases import player as players
from flowviz.device import limit_threads
from flowviz.experiments import evolution
from flowviz.experiments import likelihood as likelihoods
from flowviz.experiments.evaluate import Likelihood
from flowviz.experiments.evolution import FlowConfig, FlowResult, Scene, SceneConfig
from flowviz.experiments.likelihood import DensityResult, GapResult, PointResult
from flowviz.fields import LearnedField
from flowviz.ui.notices import escaped

__all__ = [
    "adopt",
    "adopted",
    "cards",
    "content_name",
    "density",
    "flow",
    "gap",
    "in_parallel",
    "kept",
    "likelihood",
    "network",
    "packed_scene",
    "panels",
    "pass_over",
    "point",
    "scene",
]

T = TypeVar("T")

LISTED_SECONDS = 5
"""How long a listing of checkpoints is taken to be fresh."""


def kept(room: ModuleType, name: str, most: int) -> Callable[..., Any]:
    """The function `name` of a room of experiments, of which the last `most` results are kept.

    It takes a config, which is the key, and the live field that `config.field` names, if any.
    """

    def compute(config: Any, _field: LearnedField | None = None) -> Any:
        limit_threads()  # which holds for the calling thread
        given = {} if _field is None else {"field": _field}
        return getattr(room, name)(config, **given)

    # Streamlit tells caches apart by the functions' names.
    compute.__name__ = compute.__qualname__ = f"{room.__name__}.{name}"
    return st.cache_data(max_entries=most, show_spinner=False)(compute)


flow: Callable[..., FlowResult] = kept(evolution, "compute_flow", 64)
scene: Callable[..., Scene] = kept(evolution, "compute_scene", 24)
density: Callable[..., DensityResult] = kept(likelihoods, "compute_density", 256)
gap: Callable[..., GapResult] = kept(likelihoods, "compute_gap", 256)
likelihood: Callable[..., Likelihood] = kept(likelihoods, "compute_likelihood", 256)
point: Callable[..., PointResult] = kept(likelihoods, "compute_point", 256)


@st.cache_data(max_entries=64, show_spinner=False)
def panels(configs: tuple[FlowConfig, ...], _panels: Sequence[players.Panel]) -> bytes:
    """The player's payload of panels that follow from these configs."""
    return players.pack(_panels)


@st.cache_data(max_entries=24, show_spinner=False)
def packed_scene(config: SceneConfig, _scene: players.Scene) -> bytes:
    """The player's payload of the scene that follows from a config."""
    return players.pack_scene(_scene)


@st.cache_resource(max_entries=48, show_spinner=False)
def network(name: str, sha256: str) -> LearnedField:
    """The field of the checkpoint `name`; `sha256`, of its card, tells it from a later one."""
    return checkpoints.load(name).field


def cards() -> dict[str, checkpoints.Card]:
    """The checkpoints on this machine by name; a damaged file is passed over with one notice."""
    found, damages = _listing()
    pass_over(damages)
    return found


def pass_over(damages: Iterable[str]) -> None:
    """Tells this visitor of each damaged checkpoint, once."""
    told = st.session_state.setdefault("cards:told", set())
    for damage in damages:
        if damage not in told:
            told.add(damage)
            st.toast(f"A checkpoint was passed over. {escaped(damage)}", icon=":material/error:")


@st.cache_data(ttl=LISTED_SECONDS, show_spinner=False)
def _listing() -> tuple[dict[str, checkpoints.Card], list[str]]:
    damages: list[str] = []
    listed = checkpoints.listing(lambda error: damages.append(str(error)))
    return {card.name: card for card in listed}, damages


def in_parallel(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of jobs that run beside each other, in order; the first error is raised."""
    if len(jobs) == 1:
        return [jobs[0]()]
    context = get_script_run_ctx()
    with ThreadPoolExecutor(
        len(jobs), initializer=lambda: add_script_run_ctx(ctx=context)
    ) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def content_name(field: LearnedField) -> str:
    """A name that says what a field is: "live:" and a hash of its weights, path and objective."""
    digest = hashlib.sha256(repr((field.path, field.objective.label, field.std)).encode())
    for name, tensor in field.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return f"live:{digest.hexdigest()[:16]}"


def adopt(data: str, path: str, field: LearnedField) -> None:
    """Keeps a field that was trained in this session for the Compare page.

    Args:
        data: spec of the data set that it was trained on.
        path: spec of its path.
        field: it must not change any more; hand over a copy of one in training.
    """
    fields = st.session_state.setdefault("live:fields", {})
    fields[data, path] = (content_name(field), field)


def adopted(data: str, path: str) -> tuple[str, LearnedField] | None:
    """The name and the field that this session trained on a data set and a path, if any."""
    return st.session_state.get("live:fields", {}).get((data, path))
