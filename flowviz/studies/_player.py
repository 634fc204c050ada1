"""The study `flow` as data of the player."""

import numpy as np

from flowviz.canvases import player as players
from flowviz.datasets import dataset, parted
from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.glossary import term
from flowviz.schedulers import LEARNED
from flowviz.studies._flow import CompareResult, Side

PEAK_DIFFERENCE = 0.98
"""Quantile of the error where particles go, shown in the darkest colour."""


def payloads(
    result: CompareResult, view: players.View | None = None, *, reserve: int = 330
) -> tuple[list[bytes], bytes]:
    """The scenes of all sides and the payload of the player that shows them.

    Args:
        result: all sides; learned densities that it has can be selected.
        view: shown first.
        reserve: height in pixels that the page needs besides the planes.
    """
    densities = [result.learned(k) for k in range(len(result.sides))]
    payload, scenes = players.envelope(
        players.pack([panel_of(side) for side in result.sides]),
        [players.pack_scene(scene_of(side)) for side in result.sides],
        key="compare",
        learned=[each and pack_density(each) for each in densities] if any(densities) else None,
        view=view or players.View(),
        autoplay=True,
        reserve=reserve,
    )
    return [each for each in scenes if each is not None], payload


def panel_of(side: Side) -> players.Panel:
    """The particles of a side with the numbers below them."""
    flow = side.flow
    readouts = [
        players.Readout("NFE used", flow.nfe, 0, help=f"{term('nfe').sentence} Counted."),
        players.Readout(
            "Length ÷ displacement",
            np.nan if side.jumps else flow.detour,
            3,
            help="Mean length of the trajectories over the mean distance from start to end; 1 is "
            "straight. Jumps have no trajectory.",
        ),
        players.Readout(
            "Sliced W₂ to data",
            flow.quality,
            3,
            help=f"{term('sliced-w2').sentence} Here of the particles at time t and the data; "
            f"about {flow.quality_floor:.3f} would be perfect, since two random samples of "
            f"{len(flow.data):,} data points differ that much.",
        ),
    ]
    if flow.off_support is not None:
        readouts.append(
            players.Readout(
                "Off the data at the end",
                100 * flow.off_support,
                1,
                unit="%",
                help="Share of the final particles where the data has no mass.",
            )
        )
    return players.Panel(
        title=side.title,
        role=side.path.split(":")[0],
        times=flow.times,
        states=flow.states,
        step_times=flow.step_times,
        step_states=flow.step_states,
        readouts=tuple(readouts),
        note=side.note,
        badge="No network for this path: exact field" if side.untrained else "",
        by_origin=bool(parted(side.config.data)[0]),
        start=start_label(side.config.data),
        jumps=side.jumps,
    )


def start_label(data: str) -> str:
    """What the particles of a data set are at t = 0: noise, or the label of its source."""
    source = dataset(data, sources=True).source
    return "noise" if source is None else source.label


def scene_of(side: Side) -> players.Scene:
    """Density, velocity, error and data behind the particles of a side."""
    scene, difference = side.scene, side.scene.difference
    if difference is not None and scene.reached is not None:
        # Large errors near t = 1, at the edges of the data, would make all others invisible.
        peak = np.quantile(difference[scene.reached], PEAK_DIFFERENCE)
        difference = np.where(scene.reached, np.minimum(difference, peak), 0)
    estimated = {"density_label": "p_t, a mean over data points"} if side.path == LEARNED else {}
    if scene.estimated:
        estimated = {"density_label": "p_t, a mean over pairs"}
    target = dataset(side.config.data, sources=True)
    if target.estimated:
        estimated = {"density_label": "p_t to samples of the network", "data_label": "its samples"}
    return players.Scene(
        **estimated,
        times=scene.times,
        density=scene.density,
        velocity=scene.velocity,
        difference=difference,
        data=side.flow.data,
        classes=side.flow.classes,
        class_names=target.classes,
        velocity_label=f"{'exact' if side.exact else 'learned'} velocity",
        difference_label="|learned − exact| velocity where particles go",
    )


def pack_density(evolution: DensityEvolution) -> bytes:
    """The payload of a learned density over time, on the scale of the exact one."""
    return players.pack_scene(
        players.Scene(
            times=evolution.times,
            density=evolution.density,
            density_peaks=players.peaks_of(evolution.exact),
            density_label="learned density p_t",
        )
    )
