"""Two paths from the same noise to data, at every time between 0 and 1."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from flowviz.datasets import dataset
from flowviz.experiments import figure4
from flowviz.experiments.evolution import (
    REACHED,
    Scene,
    SceneConfig,
    at_time,
    compute_flow,
    compute_reference,
    compute_scene,
)
from flowviz.experiments.fields import EXACT, FieldRef, trained_name
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.studies import Finding, Findings, Live, Study, Tables
from flowviz.studies._flow import NO_NETWORK, CompareConfig, CompareResult, Side
from flowviz.studies._flow_figures import draw as draw
from flowviz.studies._flow_figures import quality_columns

LATE = 0.05
"""Smallest difference of two half-way times at which one flow is called late."""

MIN_PATTERN = 0.1
"""Smallest final pattern, in [0, 1], whose half-way time is stated."""


def compute(config: CompareConfig, live: Live, progress: Progress) -> Iterator[CompareResult]:
    """Solves both flows in parallel.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    chosen = ((config.left, config.left_network), (config.right, config.right_network))
    pieces = [partial(_side, config, *each, live, progress) for each in chosen]
    found = dict(progress.in_parallel(pieces, doing="moving the particles"))
    yield CompareResult(sides=(found[0], found[1]))


def _side(config: CompareConfig, path: str, network: str, live: Live, progress: Progress) -> Side:
    name = EXACT if network == NO_NETWORK else network
    if name != EXACT and name not in live:
        path = FieldRef.of(name).path_spec
    flow = config.flow(path, name)
    reference = progress.cached(compute_reference, (flow.data, flow.n))
    scene_config = SceneConfig(data=config.data, path=path, field=name)
    scene = progress.cached(compute_scene, scene_config, field=live.get(name))
    given = {"field": live.get(name), "reference": reference, "should_stop": progress.should_stop}
    return Side(
        path=path,
        label=scheduler(path).label,
        config=flow,
        scene_config=scene_config,
        flow=progress.cached(compute_flow, flow, **given),
        scene=scene,
        half_time=progress.cached(half_way, scene_config, scene=scene),
        untrained=name == EXACT != config.field and not trained_name(config.data, path),
    )


def table(config: CompareConfig, result: CompareResult) -> Tables:
    """Quality over time, one row for each path and time."""
    return quality_columns(result)


def say(config: CompareConfig, result: CompareResult) -> Findings:
    """The time of the pattern and final quality of each side, and the distance of the two ends."""
    left, right = result.sides
    yield from timing(result.sides)
    ends = [side.flow.end_quality for side in result.sides]
    floor = left.flow.quality_floor
    yield Finding(
        lead="Distance to the data",
        text=f"{ends[0]:.3f} on the left and {ends[1]:.3f} on the right (sliced W₂); about "
        f"{floor:.3f} would be perfect, since two random samples of the data differ that "
        "much.",
        numbers={"left": ends[0], "right": ends[1], "floor": floor},
    )
    yield from _from_source(config, result)
    if left.config == right.config:
        yield Finding(text="Both sides show the same flow, so they agree exactly.")
    else:
        apart = np.linalg.norm(left.flow.states[-1] - right.flow.states[-1], axis=1).mean()
        yield Finding(
            lead="Same start, same end?",
            text=f"the same starting point ends {apart:.2f} apart on the two sides (mean over "
            "the particles). Exact fields with enough steps bring this close to 0 on every "
            "fixed path except VE.",
            numbers={"apart": float(apart)},
        )
    for label in dict.fromkeys(side.label for side in result.sides if side.untrained):
        yield Finding(
            lead="No network",
            text=f"there is no network for this data set on {label}; the exact field is "
            "shown. The Train page trains one.",
        )
    if dataset(config.data, sources=True).estimated:
        yield Finding(
            lead="Unknown data",
            text="the data set of this network is not known, so no exact field is compared with "
            "it. The data here are samples of the network itself.",
        )
    if config.picture == "difference":
        yield from _errors(config, result)


def _from_source(config: CompareConfig, result: CompareResult) -> Findings:
    """How far the particles move from a source, beside the distance of independent pairs."""
    source = dataset(config.data, sources=True).source
    if source is None:
        return
    first = result.sides[0].flow
    apart = float(np.linalg.norm(first.data - first.states[0], axis=1).mean())
    moved = [side.flow.displacement for side in result.sides]
    yield Finding(
        lead=f"From {source.label}",
        text=f"the particles move {moved[0]:.2f} on the left and {moved[1]:.2f} on the right "
        f"(mean distance from start to end); independent pairs are {apart:.2f} apart. The exact "
        "field is that of independent pairs; a network trained with minibatch OT moves less. "
        "The figure “By origin” shows which start goes where.",
        numbers={"left": moved[0], "right": moved[1], "pairs": apart},
    )


def timing(sides: Sequence[Side]) -> Findings:
    """Which side is half-way to the data first; none if both are about as early."""
    halves = [side.half_time for side in sides]
    if None in halves or abs(halves[0] - halves[1]) < LATE:
        return
    late = int(halves[1] > halves[0])
    early, other = sides[1 - late].label, sides[late].label
    yield Finding(
        lead="When it happens",
        text=f"{early} moves early and has half of the pattern of the data by "
        f"t = {halves[1 - late]:.2f}; {other} moves late and has it only by "
        f"t = {halves[late]:.2f}.",
        numbers={"early": halves[1 - late], "late": halves[late]},
    )


def _errors(config: CompareConfig, result: CompareResult) -> Findings:
    scenes = {side.label: side.scene for side in result.sides if not side.exact}
    rms = {
        label: float(at_time(scene.times, scene.rms_difference, config.t))
        for label, scene in scenes.items()
        if scene.rms_difference is not None
    }
    if not rms:
        return
    values = " and ".join(f"{value:.3g} on {label}" for label, value in rms.items())
    yield Finding(
        text=f"RMS error of the velocity under the density of the path: {values}. "
        f"Blank areas have less than {REACHED:.0%} of the largest density: no training point "
        "lies there, so that errors there have no effect.",
        numbers=rms,
        detail=True,
    )


def half_way(config: SceneConfig, *, scene: Scene) -> float | None:
    """Time at which the density of a scene has half of its final pattern, see `figure4.pattern`.

    None for data with less than MIN_PATTERN, such as one Gaussian. The result depends on `config`
    only, of which `scene` is the result.
    """
    values = figure4.pattern(scene.density)
    if values[-1] - values[0] < MIN_PATTERN:
        return None
    return figure4.half_way(scene.times, values)


STUDY = Study(
    __name__,
    "From noise to data on two paths",
    CompareConfig,
    page="compare",
    seconds=1.5,
    smallest={"field": EXACT, "nfe": 2},
)
