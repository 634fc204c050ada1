"""The Compare page: two to four flows in the player, and the same content as Plotly figures."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from flowviz import datasets
from flowviz.canvases import player as players
from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.experiments.fields import FieldRef
from flowviz.fields import FlowMap
from flowviz.schedulers import LEARNED, scheduler
from flowviz.studies import STUDIES
from flowviz.studies._flow import (
    PICTURES,
    CompareConfig,
    CompareResult,
    Side,
    noticed_jumps,
)
from flowviz.studies._player import pack_density, panel_of, scene_of
from flowviz.studies.density_evolution import DensityEvolutionConfig, DensityEvolutionResult
from flowviz.studies.export import file_name
from flowviz.studies.flow import timing
from flowviz.studies.jump_error import JumpErrorConfig
from flowviz.studies.page import compare_page
from flowviz.ui import (
    cache,
    canvas,
    data_picker,
    glossary,
    live,
    state,
    study_view,
    video,
    widgets,
    work,
)
from flowviz.ui import player as player_mount
from flowviz.ui.downloads import html_page, line
from flowviz.ui.opening import SHORT
from flowviz.ui.panels import Comparison

FLOW, DENSITY = STUDIES["flow"], STUDIES["density-evolution"]
JUMP_ERROR = STUDIES["jump-error"]
JUMPS = "jumps"
"""The figure of `JUMP_ERROR` in links."""
LINKED = ("t", "layers", "density", "mode", "layout")
"""The entries of the view of the player that a link has."""
DRAWN = "compare:drawn"
"""The config of the particles for which the figures were sent last."""
HEAD_START = 0.15
"""Seconds between new particles and the figure below: drawing it blocks the browser for longer."""


def sides(page: Comparison) -> CompareResult | None:
    """All flows; None while they are being computed and the page shows the progress.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    config = page.config.computed()
    return work.result_of(
        "compare",
        study_view.token(FLOW, config),
        study_view.computation(FLOW, config, page.live),
        label=f"Computing the flows to {data_picker.dataset(config.data).label}",
        invite=study_view.invitation(FLOW, config),
        lane=study_view.lane_of(FLOW, config),
    )


def known(page: Comparison) -> CompareResult | None:
    """All flows if they are stored."""
    return study_view.known(FLOW, page.config)


def count(page: Comparison) -> str:
    """How many paths or panels the page shows, in words."""
    paths = page.config.paths
    noun = "paths" if len(set(paths)) == len(paths) else "panels"
    return f"{('two', 'three', 'four')[len(paths) - 2]} {noun}"


def movement(page: Comparison) -> str:
    """What one sees of the particles."""
    points = "points" if has_source(page) else "noise points"
    if all(page.config.jumps):
        return f"The same {points} go to the data in jumps, at the same time t."
    some = " or go there in jumps" if any(page.config.jumps) else ""
    return (
        f"The same {points} move to the data on their [paths](probability-path){some}, at the "
        "same time t."
    )


def has_source(page: Comparison) -> bool:
    """Whether the particles start from a data set and not from noise."""
    return bool(datasets.parted(page.config.data)[0])


def origin(page: Comparison) -> str:
    """What moves to what, for the title."""
    if not has_source(page):
        return "noise to data"
    source, data = datasets.parted(page.config.data)
    return f"{data_picker.dataset(source).label} to {data_picker.dataset(data).label}"


def main_finding(config: CompareConfig, result: CompareResult | None) -> str:
    """Which side is early and which is late, or what one sees of jumps."""
    if jumps := noticed_jumps(config, result.sides if result else ()):
        return jumps
    findings = list(timing(result.sides)) if result else []
    if not findings:
        return "Which particles arrive early, and where they end."
    return findings[0].text[0].upper() + findings[0].text[1:]


def findings(page: Comparison, result: CompareResult) -> None:
    """The findings, without the one on the top of the page; a lecture has no such top."""
    on_top = [] if state.is_restricted() else list(timing(result.sides))
    study_view.findings([each for each in FLOW.say(page.config, result) if each not in on_top])


def to_training(page: Comparison, result: CompareResult) -> None:
    """A link to the training on this data, where a panel has no network; not in a lecture."""
    data = page.config.data
    learnable = datasets.is_linkable(data) and any(side.exact for side in result.sides)
    if learnable and not state.is_restricted():
        st.page_link(
            "pages/train.py",
            label="Train networks on this data",
            icon=":material/model_training:",
            query_params={"data": data},
        )


def player(
    page: Comparison, result: CompareResult, learned: Sequence[DensityEvolution | None]
) -> players.View:
    """Draws the panels in the player and returns the visitor's view.

    `learned` has the learned density of each side, if it was computed. While a control moves, the
    browser computes the particles itself, where it can.
    """
    default = players.View()
    view = mount(
        result,
        key="compare",
        view=canvas.opened(default, *LINKED),
        learned=[None if each is None else pack_density(each) for each in learned]
        if any(map(_has_density, result.sides))
        else None,
        model=live.model([side.config for side in result.sides], page.live),
        own_solvers=bool(page.config.solvers),
    )
    canvas.keep(view, default, *LINKED)
    return view


def mount(
    result: CompareResult,
    *,
    key: str,
    view: players.View,
    learned: Sequence[bytes | None] | None = None,
    loop: bool = False,
    model: bytes | None = None,
    own_solvers: bool = False,
) -> players.View:
    """Draws the panels in the player `key`; see `flowviz.ui.player.player`, `flowviz.ui.live`."""
    configs = tuple(side.config for side in result.sides)
    return player_mount.player(
        cache.panels(configs, [panel_of(side) for side in result.sides]),
        [cache.packed_scene(side.scene_config, scene_of(side)) for side in result.sides],
        key=key,
        learned=learned,
        view=view,
        loop=loop,
        model=model,
        live=live.values(configs, model, own_solvers=own_solvers) if model else None,
    )


def _has_density(side: Side) -> bool:
    """Whether a side has a learned density."""
    return not (side.exact or side.is_map)


def _density_config(page: Comparison, result: CompareResult) -> DensityEvolutionConfig | None:
    """The learned densities of the sides that have one."""
    learned = list(filter(_has_density, result.sides))
    if not learned:
        return None
    return DensityEvolutionConfig(
        data=page.config.data,
        paths=tuple(side.path for side in learned),
        networks=tuple(side.config.field for side in learned),
    )


def known_densities(page: Comparison, result: CompareResult) -> list[DensityEvolution | None]:
    """The learned density of each side as far as it was computed."""
    config = _density_config(page, result)
    stored = None if config is None else study_view.known(DENSITY, config)
    evolutions = iter(stored.evolutions if stored is not None else ())
    return [next(evolutions, None) if _has_density(side) else None for side in result.sides]


def densities(page: Comparison, result: CompareResult, view: players.View) -> None:
    """Computes the learned densities if the player shows them, and their findings."""
    config = _density_config(page, result)
    if config is None or view.density != "learned":
        return
    was_known = study_view.known(DENSITY, config) is not None

    def draw(computed: DensityEvolutionResult) -> None:
        if len(computed.evolutions) == len(config.paths) and not was_known:
            return  # the page runs again, so that the player gets the densities
        findings = DENSITY.say(replace(config, t=view.t), computed)
        study_view.findings(findings)
        glossary.terms_line(" ".join(map(str, findings)), "density")

    work.show(
        "density",
        study_view.token(DENSITY, config),
        study_view.computation(DENSITY, config, page.live),
        draw,
        label="Computing the learned density",
    )


def figures(page: Comparison, result: CompareResult, view: players.View) -> None:
    """The content of the player as figures to read, zoom and export."""
    options = dict(PICTURES)
    options["moment"] = f"At t = {view.t:.3f}"
    if all(side.scene.difference is None for side in result.sides):
        del options["difference"]
    if not data_picker.dataset(page.config.data).classes:
        del options["class"]
    maps = {side.config.field: side for side in result.sides if _is_map(page, side)}
    if maps:
        options[JUMPS] = "Jumps: learned − exact"
    first = "origin" if has_source(page) else "moment"
    chosen = widgets.segmented("figure", "Figure", options, first, label_visibility="collapsed")
    if chosen == JUMPS:
        for k, name in enumerate(maps):
            config = JumpErrorConfig(data=page.config.data, network=name)
            study_view.show(JUMP_ERROR, config, live=page.live, place=f"jumps-{k}")
        return
    if view.density == "learned":
        result = replace(result, densities=tuple(known_densities(page, result)))
    config = replace(page.config, t=view.t, mode=view.mode, picture=chosen)
    if st.session_state.get(DRAWN) != page.config:
        st.session_state[DRAWN] = page.config
        time.sleep(HEAD_START)
    study_view.draw(FLOW, config, result, place="compare", say=False)


def _is_map(page: Comparison, side: Side) -> bool:
    """Whether a side has the velocity of a flow map, whose jumps have an exact reference."""
    name = side.config.field
    if side.exact or side.scene.difference is None:
        return False
    return isinstance(page.live[name], FlowMap) if name in page.live else FieldRef.of(name).jumps


def downloads(page: Comparison, result: CompareResult, view: players.View) -> None:
    """The button below the player: the view as a page that opens offline."""
    with_densities = replace(result, densities=tuple(known_densities(page, result)))
    html = html_page(partial(compare_page, FLOW, page.config, with_densities, view))
    line("compare-player", filename=file_name(page.config, "compare"), files=[html])
    if not state.is_restricted():
        video.box(FLOW, replace(page.config, mode=view.mode), result)


def note(result: CompareResult) -> None:
    """A folded note: the meanings of "OT", and the formulas of the paths."""
    with st.expander("Which OT? What the paths are, and what they are not"):
        st.markdown(
            f"{SHORT}\n\nWith exact fields and enough steps, conditional OT, VP and the "
            "trigonometric path move each particle to the *same* end (VE approximately, because "
            "its start neglects the data term). The paths differ in when they move, and so in "
            "the errors of few steps and of a network."
        )
        for path in dict.fromkeys(side.path for side in result.sides):
            entry = scheduler(path)
            form = "" if path == LEARNED else "$x_t = \\alpha_t x_1 + \\sigma_t x_0$ with "
            st.markdown(f"**{entry.label}:** {form}${entry.symbol}$")
