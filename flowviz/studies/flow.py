"""Two to four paths from the same noise to data, at every time between 0 and 1."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

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
from flowviz.studies._flow import (
    NO_NETWORK,
    PANELS,
    CompareConfig,
    CompareResult,
    Side,
    titled,
)
from flowviz.studies._flow_figures import draw as draw
from flowviz.studies._flow_figures import quality_columns

LATE = 0.05
"""Smallest difference of two half-way times at which one flow is called late."""

MIN_PATTERN = 0.1
"""Smallest final pattern, in [0, 1], whose half-way time is stated."""


def compute(config: CompareConfig, live: Live, progress: Progress) -> Iterator[CompareResult]:
    """Solves all flows in parallel.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    pieces = [partial(_side, config, k, live, progress) for k in range(len(config.paths))]
    sides = dict(progress.in_parallel(pieces, doing="moving the particles"))
    yield CompareResult(sides=titled(sides[k] for k in range(len(pieces))))


def _side(config: CompareConfig, k: int, live: Live, progress: Progress) -> Side:
    path, name = config.paths[k], config.networks[k]
    name = EXACT if name == NO_NETWORK else name
    if name != EXACT and name not in live:
        path = FieldRef.of(name).path_spec
    flow = config.flow(k, path, name)
    reference = progress.cached(compute_reference, (flow.data, flow.n))
    scene_config = SceneConfig(data=config.data, path=path, field=name)
    scene = progress.cached(compute_scene, scene_config, field=live.get(name))
    inputs = {"field": live.get(name), "reference": reference}
    return Side(
        path=path,
        label=scheduler(path).label,
        config=flow,
        scene_config=scene_config,
        flow=progress.cached(compute_flow, flow, **inputs),
        scene=scene,
        half_time=progress.cached(half_way, scene_config, scene=scene),
        untrained=name == EXACT != config.field and not trained_name(config.data, path),
    )


def table(config: CompareConfig, result: CompareResult) -> Tables:
    """Quality over time, one row for each path and time."""
    return quality_columns(result)


def say(config: CompareConfig, result: CompareResult) -> Findings:
    """The time of the pattern and final quality of each side, and the distance of the ends."""
    sides = result.sides
    yield from timing(sides)
    ends, floor = [side.flow.end_quality for side in sides], sides[0].flow.quality_floor
    yield Finding(
        lead="Distance to the data",
        text=f"{_value_per_side(sides, ends, '.3f')} (sliced W₂); about "
        f"{floor:.3f} would be perfect, since two random samples of the data differ that "
        "much.",
        numbers=dict(zip(PANELS, ends, strict=False)) | {"floor": floor},
    )
    yield from _from_source(config, result)
    distance, one, other = max(
        ((_end_distance(a, b), a, b) for a, b in combinations(sides, 2)), key=lambda pair: pair[0]
    )
    if all(side.config == sides[0].config for side in sides):
        yield Finding(text="All panels show the same flow, so they agree exactly.")
    else:
        suffix = "" if len(sides) == 2 else ", the two that differ most"
        yield Finding(
            lead="Same start",
            text=f"the same starting point ends {distance:.2f} apart on {one.title} and on "
            f"{other.title}{suffix} (mean over the particles). Exact fields with enough steps "
            "bring this close to 0 on every fixed path except VE.",
            numbers={"apart": distance},
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


def _value_per_side(sides: Sequence[Side], values: Sequence[float], form: str) -> str:
    """A number of each side with its title, as a list in words."""
    *first, last = (
        f"{value:{form}} on {side.title}" for side, value in zip(sides, values, strict=True)
    )
    return f"{', '.join(first)} and {last}" if first else last


def _end_distance(one: Side, other: Side) -> float:
    """Mean distance of the ends of the same starting points."""
    return float(np.linalg.norm(one.flow.states[-1] - other.flow.states[-1], axis=1).mean())


def _from_source(config: CompareConfig, result: CompareResult) -> Findings:
    """How far the particles move from a source, beside the distance of independent pairs."""
    source = dataset(config.data, sources=True).source
    if source is None:
        return
    first = result.sides[0].flow
    pair_distance = float(np.linalg.norm(first.data - first.states[0], axis=1).mean())
    displacements = [side.flow.displacement for side in result.sides]
    yield Finding(
        lead=f"From {source.label}",
        text=f"the particles move {_value_per_side(result.sides, displacements, '.2f')} "
        f"(mean distance from start to end); independent pairs are {pair_distance:.2f} apart. "
        "The exact "
        "field is that of independent pairs; a network trained with minibatch OT moves less. "
        "The figure “By origin” shows which start goes where.",
        numbers=dict(zip(PANELS, displacements, strict=False)) | {"pairs": pair_distance},
    )


def timing(sides: Sequence[Side]) -> Findings:
    """Which path is half-way to the data first, and which last.

    None if all are about as early, or if one jumps: its particles are nowhere between.
    """
    known = [
        (side.label, side.half_time)
        for side in sides
        if side.half_time is not None and not side.jumps
    ]
    if len(known) < len(sides):
        return
    halves = dict(known)
    early, late = min(halves, key=halves.__getitem__), max(halves, key=halves.__getitem__)
    if halves[late] - halves[early] < LATE:
        return
    yield Finding(
        lead="When it happens",
        text=f"{early} moves early: half of the pattern is there by t = {halves[early]:.2f}. "
        f"{late} moves late: by t = {halves[late]:.2f}.",
        numbers={"early": halves[early], "late": halves[late]},
    )


def _errors(config: CompareConfig, result: CompareResult) -> Findings:
    side_errors = {
        side.title: (side, float(at_time(side.scene.times, side.scene.rms_difference, config.t)))
        for side in result.sides
        if side.scene.rms_difference is not None
    }
    if not side_errors:
        return
    rms = {title: value for title, (_, value) in side_errors.items()}
    sides, values = zip(*side_errors.values(), strict=True)
    yield Finding(
        text="RMS error of the velocity under the density of the path: "
        f"{_value_per_side(sides, values, '.3g')}. "
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
    "From noise to data on several paths",
    CompareConfig,
    (compute, draw, table, say),
    page="compare",
    seconds=1.5,
    smallest={"field": EXACT, "nfe": 2},
)
