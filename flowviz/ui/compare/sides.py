"""The two sides of the Compare page: what is computed for them, and the player that moves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from flowviz.experiments.evolution import EXACT, FlowConfig, FlowResult, Scene, SceneConfig
from flowviz.schedulers import LEARNED, scheduler
from flowviz.ui import cache, state
from flowviz.ui import player as players
from flowviz.ui.compare.controls import Settings
from flowviz.ui.field_picker import choose

__all__ = ["Side", "player", "sides"]

PEAK_DIFFERENCE = 0.98
"""The quantile of the difference, where particles go, that the player's darkest colour means."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One panel: a path with its field, flow and scene."""

    path: str
    label: str
    config: FlowConfig
    flow: FlowResult
    scene: Scene
    scene_config: SceneConfig
    untrained: bool = False
    """Whether a learned field was asked for and there is none, so that this is the exact one."""

    @property
    def exact(self) -> bool:
        """Whether the exact field moves the particles."""
        return self.config.field == EXACT


def sides(settings: Settings) -> list[Side]:
    """Both panels, computed beside each other; what was computed before is not computed again.

    Raises:
        ValueError: a solve failed; the message says where and what to do.
    """
    chosen = zip(settings.paths, settings.networks, strict=True)
    return cache.in_parallel([partial(_side, settings, path, name) for path, name in chosen])


def _side(settings: Settings, path: str, name: str) -> Side:
    path, field, network = choose(settings.data, path, name)
    flow, scene = settings.flow(path, field), settings.scene(path, field)
    return Side(
        path=path,
        label=scheduler(path).label,
        config=flow,
        scene_config=scene,
        flow=cache.flow(flow, network),
        scene=cache.scene(scene, network),
        untrained=field == EXACT != settings.field,
    )


def player(panels: Sequence[Side], learned: Sequence[bytes | None] | None = None) -> players.View:
    """The moving picture of both panels under one clock; returns what the visitor looks at.

    `learned` is what `compare.planes` returns.
    """
    initial = players.View(
        t=state.opened("t", 0.0, _time),
        layers=state.opened("layers", players.View().layers, _layers),
        density=state.opened("density", "exact", partial(_one_of, players.DENSITIES)),
        mode=state.opened("mode", "smooth", partial(_one_of, players.MODES)),
        layout=state.opened("layout", "panels", partial(_one_of, players.LAYOUTS)),
    )
    view = players.player(
        cache.panels(tuple(side.config for side in panels), [_panel(side) for side in panels]),
        [cache.packed_scene(side.scene_config, _plane(side)) for side in panels],
        key="compare",
        learned=learned,
        initial=initial,
    )
    state.publish("t", round(view.t, 3), 0.0)
    state.publish("layers", view.layers, players.View().layers, write=",".join)
    state.publish("density", view.density, "exact")
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
    difference = scene.difference
    if difference is not None:
        # The last moments are stiff at the edges of the data, and would dim all others.
        most = np.quantile(difference[scene.reached], PEAK_DIFFERENCE)
        difference = np.where(scene.reached, np.minimum(difference, most), 0)
    kind = "exact" if side.exact else "learned"
    estimated = {"density_label": "p_t, a mean over data points"} if side.path == LEARNED else {}
    return players.Scene(
        **estimated,
        times=scene.times,
        density=scene.density,
        velocity=scene.velocity,
        difference=difference,
        data=side.flow.data,
        velocity_label=f"{kind} velocity",
        difference_label="|learned − exact| velocity where particles go",
    )


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
