"""The parts of the Compare page: its controls, its two sides, and its figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.datasets import DATASETS
from flowviz.experiments.evolution import (
    EXACT,
    FlowConfig,
    FlowResult,
    Scene,
    SceneConfig,
    at_time,
    budgets,
    last_step,
)
from flowviz.fields import LearnedField
from flowviz.figures import curves, plane, theme
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import METHODS
from flowviz.ui import cache, figure, state
from flowviz.ui import player as players
from flowviz.ui.theme import is_dark

__all__ = ["Settings", "Side", "controls", "lesson", "player", "sides", "twin", "which_ot"]

METRIC = "sliced W₂ to fresh data"
"""What a quality number on this page is; its unit is that of the plane."""

TOLERANCES = {"0.001": "10⁻³", "0.0001": "10⁻⁴", "1e-05": "10⁻⁵", "1e-06": "10⁻⁶"}
SHOWN_WAYS = 120
"""Particles whose ways are drawn: more would be a thicket."""
STRIP_TIMES = np.linspace(0, 1, 10)
"""The ten moments of a film strip, as in Fig. 4 of the paper."""
STRIP_PARTICLES = 600
DEFAULT = FlowConfig()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    paths: tuple[str, str]
    field: str
    """"learned" or "exact"."""
    method: str
    nfe: int
    tol: float
    seed: int

    def flow(self, path: str, field: str) -> FlowConfig:
        """The flow of one side."""
        return FlowConfig(
            data=self.data,
            path=path,
            field=field,
            method=self.method,
            nfe=self.nfe,
            tol=self.tol,
            seed=self.seed,
        )

    def scene(self, path: str, field: str) -> SceneConfig:
        """The scene of one side, which solver, budget and seed do not touch."""
        return SceneConfig(data=self.data, path=path, field=field)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One panel: a path with its field, flow and scene."""

    path: str
    label: str
    config: FlowConfig
    flow: FlowResult
    scene: Scene
    scene_config: SceneConfig
    missing: str = ""
    """Why the field is not the one asked for, in a sentence; empty if it is."""

    @property
    def exact(self) -> bool:
        """Whether the exact field moves the particles."""
        return self.config.field == EXACT


def controls() -> Settings:
    """The sidebar: what is carried, along which paths, by which field and solver."""
    with st.sidebar:
        data = state.select(
            "data",
            "Data set",
            {name: entry.label for name, entry in DATASETS.items()},
            DEFAULT.data,
            help="Where the particles are to arrive: the picture at t = 1.",
        )
        labels = {name: entry.label for name, entry in SCHEDULERS.items()}
        left = state.select("left", "Left path", labels, "ot", help=PATH_HELP)
        right = state.select("right", "Right path", labels, "vp", help=PATH_HELP)
        field = state.segmented(
            "field",
            "Velocity field",
            {"learned": "Learned", EXACT: "Exact"},
            "learned",
            help="Learned: a network trained on this data set and path. Exact: the closed form "
            "that an infinitely good network would reach.",
        )
        method = state.select(
            "solver",
            "ODE solver",
            {name: entry.label for name, entry in METHODS.items()},
            DEFAULT.method,
            help="How the particles follow the field. "
            + " ".join(f"**{m.label}:** {m.sentence}" for m in METHODS.values()),
        )
        nfe, tol = DEFAULT.nfe, DEFAULT.tol
        if METHODS[method].adaptive:
            tol = float(
                state.select(
                    "tol",
                    "Tolerance of a step",
                    TOLERANCES,
                    "1e-05",
                    help="An adaptive solver picks its own steps so that each errs by less than "
                    "this; the evaluations it spent stand under the panels.",
                )
            )
        else:
            nfe = state.budget(
                "nfe",
                "Budget: function evaluations (NFE)",
                budgets(method),
                DEFAULT.nfe,
                help="How often a solve may ask for the velocity: what sampling costs. Only "
                "budgets that this solver can spend exactly are offered.",
            )
        seed = state.integer(
            "seed",
            "Seed of the noise",
            0,
            999_999,
            DEFAULT.seed,
            dice=True,
            help="Both paths start from this very noise, particle by particle.",
        )
    return Settings(
        data=data, paths=(left, right), field=field, method=method, nfe=nfe, tol=tol, seed=seed
    )


PATH_HELP = "The road from noise to data; its formula is in the note below the figures."


def sides(settings: Settings) -> list[Side]:
    """Both panels, computed beside each other; what was computed before is not computed again.

    Raises:
        ValueError: a solve failed; the message says where and what to do.
    """
    return cache.in_parallel([partial(_side, settings, path) for path in settings.paths])


def _side(settings: Settings, path: str) -> Side:
    field, network, missing = _field(settings.data, path, settings.field)
    flow, scene = settings.flow(path, field), settings.scene(path, field)
    return Side(
        path=path,
        label=scheduler(path).label,
        config=flow,
        scene_config=scene,
        flow=cache.flow(flow, network),
        scene=cache.scene(scene, network),
        missing=missing,
    )


def _field(data: str, path: str, wanted: str) -> tuple[str, LearnedField | None, str]:
    """The name of a side's field, the field if it has no file, and what is missing."""
    if wanted == EXACT:
        return EXACT, None, ""
    trained = cache.adopted(data, path)
    if trained is not None:
        return *trained, ""
    name = f"{data}-{path}"
    if name in cache.cards():
        return name, None, ""
    missing = (
        f"No network has been trained on {_label(data)} along the {scheduler(path).label} path, "
        "so that this panel shows the exact field: train one on the Train page."
    )
    return EXACT, None, missing


def player(settings: Settings, panels: Sequence[Side]) -> players.View:
    """The moving picture of both panels under one clock; returns what the visitor looks at."""
    initial = players.View(
        t=state.opened("t", 0.0, _time),
        layers=state.opened("layers", players.View().layers, _layers),
        mode=state.opened("mode", "smooth", partial(_one_of, players.MODES)),
        layout=state.opened("layout", "panels", partial(_one_of, players.LAYOUTS)),
    )
    view = players.player(
        cache.panels(tuple(side.config for side in panels), [_panel(side) for side in panels]),
        [cache.packed_scene(side.scene_config, _plane(side)) for side in panels],
        key="compare",
        initial=initial,
    )
    state.publish("t", round(view.t, 3), 0.0)
    state.publish("layers", view.layers, players.View().layers, write=",".join)
    state.publish("mode", view.mode, "smooth")
    state.publish("layout", view.layout, "panels")
    return view


def _panel(side: Side) -> players.Panel:
    flow = side.flow
    readouts = [
        players.Readout(
            "NFE used", flow.nfe, 0, help="Function evaluations, counted while solving."
        ),
        players.Readout(
            "Path length ÷ displacement",
            flow.detour,
            3,
            help="Mean length of the particles' ways through the solver's own states, over the "
            "mean distance from start to end: 1 is straight.",
        ),
        players.Readout(
            "Sliced W₂ to data",
            flow.quality,
            3,
            help="Distance of the particles at the clock's time to fresh data; two fresh sets of "
            f"{len(flow.data):,} points are {flow.quality_floor:.3f} apart.",
        ),
    ]
    if flow.off_support is not None:
        readouts.append(
            players.Readout(
                "Off the data at t = 1",
                100 * flow.off_support,
                1,
                unit="%",
                help="Share of the final particles where the data has no mass.",
            )
        )
    return players.Panel(
        title=side.label,
        role=side.path.split(":")[0],
        times=flow.times,
        states=flow.states,
        step_times=flow.step_times,
        step_states=flow.step_states,
        readouts=tuple(readouts),
        note=f"{'exact' if side.exact else 'learned'} field",
    )


def _plane(side: Side) -> players.Scene:
    scene = side.scene
    kind = "exact" if side.exact else "learned"
    return players.Scene(
        times=scene.times,
        density=scene.density,
        velocity=scene.velocity,
        difference=scene.difference,
        data=side.flow.data,
        velocity_label=f"{kind} velocity",
    )


def lesson(settings: Settings, panels: Sequence[Side]) -> str:
    """One caption that says, from the numbers, what to notice; Markdown."""
    left, right = panels
    floor = left.flow.quality_floor
    same = "The same noise" if left.path != right.path else "The same noise on the same path"
    ends = (
        f"{same}, carried by {left.label} in {left.flow.nfe} evaluations and by {right.label} "
        f"in {right.flow.nfe}, ends {left.flow.end_quality:.3f} and "
        f"{right.flow.end_quality:.3f} from the data in sliced W₂; two fresh sets of data are "
        f"{floor:.3f} apart."
    )
    halves = [_halfway(side.flow) for side in panels]
    if abs(halves[0] - halves[1]) < 0.05:
        return ends
    late = int(halves[1] > halves[0])
    return (
        f"{ends} **Watch when it happens:** half of the way to the data is done by "
        f"t = {halves[1 - late]:.2f} on {panels[1 - late].label}, but only by "
        f"t = {halves[late]:.2f} on {panels[late].label}."
    )


def _halfway(flow: FlowResult) -> float:
    """The time at which the distance to the data has fallen half-way from start to end."""
    level = (flow.quality[0] + flow.quality[-1]) / 2
    return float(flow.times[np.argmax(flow.quality <= level)])


def twin(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    """What the player shows, as figures to read, zoom and take away."""
    options = {
        "moment": f"At t = {view.t:.2f}",
        "ways": "Trajectories",
        "strip": "Film strip",
        "quality": "Quality over time",
    }
    if any(side.scene.difference is not None for side in panels):
        options["difference"] = "Learned − exact"
    chosen = state.segmented("figure", "Figure", options, "moment", label_visibility="collapsed")
    FIGURES[chosen](settings, panels, view)


def _moment(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    axes = [side.scene.axis for side in panels]
    moments = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=axis,
            ys=axis,
            density=at_time(side.scene.times, side.scene.density, view.t),
            positions=_nodes(side.scene.arrow_axis),
            velocities=at_time(side.scene.times, side.scene.velocity, view.t).reshape(-1, 2),
            particles=_particles(side, view),
        )
        for side, axis in zip(panels, axes, strict=True)
    ]

    def columns() -> Mapping[str, NDArray]:
        return _stacked(
            [
                {"path": side.path, "particle": np.arange(len(m.particles))} | _xy(m.particles)
                for side, m in zip(panels, moments, strict=True)
            ]
        )

    figure.show(
        plane.snapshot(moments, t=view.t, dark=is_dark()),
        "moment",
        title=f"the plane at t = {view.t:.2f}",
        alt=f"Exact density, velocity field and particles at t = {view.t:.2f} of "
        f"{panels[0].label}, left, and {panels[1].label}, right.",
        settings=_settings(settings, panels, t=f"{view.t:.4f}"),
        columns=columns,
        filename=f"flowviz-{settings.data}-t{view.t:.2f}",
    )


def _ways(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    drawn = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=side.scene.axis,
            ys=side.scene.axis,
            density=side.scene.density[-1],
            states=side.flow.step_states[:, :SHOWN_WAYS],
        )
        for side in panels
    ]

    def columns() -> Mapping[str, NDArray]:
        tables = []
        for side, ways in zip(panels, drawn, strict=True):
            steps, n = ways.states.shape[:2]
            tables.append(
                {
                    "path": side.path,
                    "particle": np.tile(np.arange(n), steps),
                    "step": np.repeat(np.arange(steps), n),
                    "t": np.repeat(side.flow.step_times, n),
                }
                | _xy(ways.states.reshape(-1, 2))
            )
        return _stacked(tables)

    figure.show(
        plane.trajectories(drawn, dark=is_dark()),
        "ways",
        title="trajectories",
        alt=f"The ways of {SHOWN_WAYS} particles from noise to data through the solver's states.",
        settings=_settings(settings, panels, particles=SHOWN_WAYS),
        columns=columns,
        filename=f"flowviz-{settings.data}-trajectories",
    )


def _strip(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    rows = [
        plane.Plane(title=side.label, colour=theme.path_colour(side.path, dark=is_dark()))
        for side in panels
    ]
    frames = [
        np.stack([at_time(side.flow.times, side.flow.states, t) for t in STRIP_TIMES])[
            :, :STRIP_PARTICLES
        ]
        for side in panels
    ]

    def columns() -> Mapping[str, NDArray]:
        return _stacked(
            [
                {
                    "path": side.path,
                    "t": np.repeat(STRIP_TIMES, STRIP_PARTICLES),
                    "particle": np.tile(np.arange(STRIP_PARTICLES), len(STRIP_TIMES)),
                }
                | _xy(states.reshape(-1, 2))
                for side, states in zip(panels, frames, strict=True)
            ]
        )

    figure.show(
        plane.film_strip(rows, frames, STRIP_TIMES, dark=is_dark()),
        "strip",
        title="film strip",
        alt="Ten moments from noise to data in a row, one row a path.",
        settings=_settings(settings, panels, particles=STRIP_PARTICLES),
        columns=columns,
        filename=f"flowviz-{settings.data}-film-strip",
    )


def _quality(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    lines = [
        curves.Curve(
            label=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            x=side.flow.times,
            y=side.flow.quality,
            floor=side.flow.quality_floor,
        )
        for side in panels
    ]
    figure.show(
        curves.quality(lines, t=view.t, metric=METRIC, dark=is_dark()),
        "quality",
        title="quality over time",
        alt="Sliced 2-Wasserstein distance of the particles to fresh data over time, for both "
        "paths, with the distance of two fresh sets of data as the floor.",
        settings=_settings(settings, panels, floor=f"{panels[0].flow.quality_floor:.6g}"),
        columns=lambda: _stacked(
            [
                {"path": side.path, "t": side.flow.times, "sliced_w2": side.flow.quality}
                for side in panels
            ]
        ),
        filename=f"flowviz-{settings.data}-quality",
    )


def _difference(settings: Settings, panels: Sequence[Side], view: players.View) -> None:
    learned = [side for side in panels if side.scene.difference is not None]
    maps = [
        plane.Plane(
            title=side.label,
            colour=theme.path_colour(side.path, dark=is_dark()),
            xs=side.scene.difference_axis,
            ys=side.scene.difference_axis,
            density=at_time(side.scene.times, side.scene.difference, view.t),
        )
        for side in learned
    ]

    def columns() -> Mapping[str, NDArray]:
        return _stacked(
            [
                {"path": side.path}
                | _xy(_nodes(side.scene.difference_axis))
                | {"difference": m.density.ravel()}
                for side, m in zip(learned, maps, strict=True)
            ]
        )

    figure.show(
        plane.difference(maps, t=view.t, dark=is_dark()),
        "difference",
        title=f"learned minus exact at t = {view.t:.2f}",
        alt="Where the learned velocity differs from the exact one, and by how much.",
        settings=_settings(settings, panels, t=f"{view.t:.4f}"),
        columns=columns,
        filename=f"flowviz-{settings.data}-difference-t{view.t:.2f}",
    )
    errors = " and ".join(
        f"{at_time(side.scene.times, side.scene.rms_difference, view.t):.3g} on {side.label}"
        for side in learned
    )
    st.caption(
        f"Root mean square over the path's density, which is what particles meet: {errors}. "
        "Where there is no mass, networks have seen nothing, and errors are large but harmless."
    )


FIGURES: dict[str, Callable[[Settings, Sequence[Side], players.View], None]] = {
    "moment": _moment,
    "ways": _ways,
    "strip": _strip,
    "quality": _quality,
    "difference": _difference,
}


def which_ot(panels: Sequence[Side]) -> None:
    """A folded note on what "OT" means, with the formulas of the paths on show."""
    with st.expander("Which OT? What the paths are, and what they are not"):
        st.markdown(
            "**Conditional OT** moves each noise sample straight to *its own* data point, which "
            "is the optimal map to one point. The flow that all these make together, the one "
            "you see, is *not* an optimal transport of noise to data, and its ways may bend. "
            "**Minibatch OT** is something else: a choice of *which* noise meets which data in "
            "training (Train page). Given exact fields and enough steps, every path here "
            "carries each particle to the *same* place; paths differ in when they move and "
            "hence in what a small budget or a network gets wrong."
        )
        for path in dict.fromkeys(side.path for side in panels):
            entry = scheduler(path)
            st.markdown(
                f"**{entry.label}:** $x_t = \\alpha_t x_1 + \\sigma_t x_0$ with ${entry.symbol}$"
            )


def _particles(side: Side, view: players.View) -> NDArray:
    if view.mode == "steps":
        return last_step(side.flow.step_times, side.flow.step_states, view.t)
    return at_time(side.flow.times, side.flow.states, view.t)


def _settings(settings: Settings, panels: Sequence[Side], **more: object) -> Mapping[str, object]:
    method = METHODS[settings.method]
    budget = {"tol": settings.tol} if method.adaptive else {"nfe": settings.nfe}
    fields = {f"field on {side.path}": side.config.field for side in panels}
    return {"data": settings.data, **fields, "solver": settings.method, **budget} | {
        "seed": settings.seed,
        **more,
    }


def _stacked(tables: Sequence[Mapping[str, NDArray | str]]) -> dict[str, NDArray]:
    """Tables of the same columns one under the other; a lone text fills its column."""
    filled = []
    for table in tables:
        rows = max(len(v) for v in table.values() if not isinstance(v, str))
        filled.append({k: np.full(rows, v) if isinstance(v, str) else v for k, v in table.items()})
    return {name: np.concatenate([table[name] for table in filled]) for name in filled[0]}


def _xy(points: NDArray) -> dict[str, NDArray]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _nodes(axis: NDArray) -> NDArray:
    """The nodes of a square grid, (G * G, 2), x fastest."""
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _label(data: str) -> str:
    return DATASETS[data].label if data in DATASETS else data


def _time(raw: str) -> float:
    t = float(raw)
    if not 0 <= t <= 1:
        raise ValueError(f"t must lie between 0 and 1; got {raw}")
    return t


def _layers(raw: str) -> tuple[str, ...]:
    names = tuple(name for name in raw.split(",") if name)
    for name in names:
        _one_of(players.LAYERS, name)
    return names


def _one_of(known: Sequence[str], raw: str) -> str:
    if raw not in known:
        raise ValueError(f"there is no {raw!r}; there are {', '.join(known)}")
    return raw
