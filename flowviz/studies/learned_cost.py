"""Does a straighter flow pay, with few evaluations and with unlimited ones?

Lipman et al. 2022 and its successors motivate straight flows by few evaluations; whether they
help with unlimited compute is the third claim of the page "Is straighter better?".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowviz.experiments.learned_path import StraightnessConfig, compute_straightness
from flowviz.experiments.solver_curves import SolverCurve
from flowviz.figures import curves
from flowviz.metrics import METRICS
from flowviz.progress import Progress
from flowviz.settings import setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._cost import curve_table, curves_of, curves_so_far
from flowviz.studies._learned_path import ComparedFlow, FlowsConfig, compared, straightest
from flowviz.studies._lines import nfe_figure
from flowviz.studies._numbers import mean

NFES = (2, 4, 8, 16, 32, 64)
MEASURES = ("sliced-w2", "histogram-tv", "energy")

GAIN = 0.05
"""Relative gain with few evaluations that counts; smaller ones are within the error."""


@dataclass(frozen=True, kw_only=True)
class LearnedCostConfig(FlowsConfig):
    """Flows, one solver, and how samples are judged."""

    method: str = declare.method(
        "euler",
        "Each Euler step follows the tangent: exact where trajectories are straight.",
        label="ODE solver of the cost curves",
        choices=declare.fixed_methods,
    )
    measure: str = setting(
        MEASURES[0],
        "Sample quality",
        choices={name: METRICS[name].label for name in MEASURES},
        help=METRICS.sentences(MEASURES),
    )
    seed: int = declare.seed(help="The same on every path.")
    n: int = setting(
        1_000,
        "Samples per seed",
        bounds=(10, 20_000),
        advanced=True,
        help="More samples lower the floor of the metric.",
    )
    seeds: int = setting(3, "Seeds", bounds=(1, 8), advanced=True, help="Number of repetitions.")
    nfes: tuple[int, ...] = setting(
        NFES, "NFE", bounds=(1, 1_000), advanced=True, help="Numbers of function evaluations."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedCostResult:
    """The complete curves with their flows, and S of each flow of the comparison."""

    flows: tuple[ComparedFlow, ...]
    deviations: tuple[float, ...]
    curves: tuple[SolverCurve, ...]

    def curve(self, flow: ComparedFlow) -> SolverCurve | None:
        """The curve of a flow if it is complete."""
        return next((each for each in self.curves if each.config.source == flow.name), None)


def compute(
    config: LearnedCostConfig, live: Live, progress: Progress
) -> Iterator[LearnedCostResult]:
    """Computes S of each flow, then the curves; yields after each curve. Live fields are left out.

    Raises:
        ValueError: a field is unknown or leads to another data set.
    """
    flows = [flow for flow in compared(config, live) if flow.name not in live]
    deviations = []
    for flow in flows:
        progress.report(0, f"straightness, {flow.label}")
        piece = StraightnessConfig(data=config.data, field=flow.name)
        deviations.append(progress.cached(compute_straightness, piece).deviation)
    configs = curves_of(config, [flow.name for flow in flows], (config.method,))
    for computed in curves_so_far(configs, progress):
        yield LearnedCostResult(flows=tuple(flows), deviations=tuple(deviations), curves=computed)


def draw(config: LearnedCostConfig, result: LearnedCostResult) -> Figures:
    """Error (left) and quality (right) against NFE."""
    metric = METRICS[config.measure].label
    floor = float(result.curves[0].floor[config.measure].mean())
    parts: list[tuple[str, str, Callable[[SolverCurve], NDArray], float | None]] = [
        ("error", "squared error per dimension", lambda curve: curve.mse, None),
        ("quality", metric, lambda curve: curve.values[config.measure], floor),
    ]
    for name, title, values_of, level in parts:
        lines = [
            _line(flow, curve, values_of(curve), level)
            for flow in result.flows
            if (curve := result.curve(flow)) is not None
        ]
        ends = "; ".join(f"{line.label} ends at {line.y[-1]:.3g}" for line in lines if len(line.y))
        yield nfe_figure(
            name,
            title,
            f"{title} against number of function evaluations: {ends}.",
            lines,
            METHODS[config.method].label,
            y_title=title,
            floor_label="best possible, same noise",
            x_ticks=sorted({round(nfe) for each in result.curves for nfe in each.cost}),
            half=True,
        )


def _line(
    flow: ComparedFlow, curve: SolverCurve, values: NDArray, level: float | None
) -> curves.Curve:
    """Mean and range over the seeds where no solve failed."""
    valid = np.isfinite(values).all(axis=1)
    runs = values[valid]
    return curves.Curve(
        label=flow.label,
        colour=flow.colour(),
        x=curve.cost[valid],
        y=runs.mean(axis=1),
        floor=level,
        band=(runs.min(axis=1), runs.max(axis=1)) if len(runs) else None,
        dash=flow.dash,
        symbol=flow.symbol,
    )


def table(config: LearnedCostConfig, result: LearnedCostResult) -> Tables:
    """One row per flow, NFE and seed."""
    return curve_table(result.curves)


def say(config: LearnedCostConfig, result: LearnedCostResult) -> Findings:
    """Whether the straightest learned path pays with few evaluations and in the limit."""
    best = straightest(result.flows, result.deviations)
    if best is not None:
        base, learned = (result.curve(result.flows[k]) for k in (0, best))
        if base is not None and learned is not None:
            straighter = result.deviations[best] < result.deviations[0]
            yield _claim(config, base, learned, straighter)
    yield Finding.note(
        "Error: mean squared distance per dimension from the converged flow of the same "
        "field. Quality: lower is better. A field that was trained in this session and not "
        "saved is left out."
    )


def _claim(
    config: LearnedCostConfig, base: SolverCurve, learned: SolverCurve, straighter: bool
) -> Finding:
    """The claim that straightness does not help when compute is unlimited."""
    learned_value, base_value = (
        float(np.nan_to_num(each.values[config.measure][0].mean(), nan=np.inf))
        for each in (learned, base)
    )
    limit, against = (each.limit[config.measure] for each in (learned, base))
    helps_at_few_nfe, order = learned_value < (1 - GAIN) * base_value, _order(limit, against)
    verdict = "undecided"
    if not straighter:
        text = "this run does not test it: the learned path is not straighter"
    elif helps_at_few_nfe and order >= 0:
        effect = "made samples worse" if order else "had no measurable effect"
        text = f"straightness helped with few evaluations and {effect} with unlimited ones"
        verdict = "supported"
    elif helps_at_few_nfe:
        text = "straightness helped with few evaluations and with unlimited ones"
        verdict = "not supported"
    elif order < 0:
        text = "the straighter flow was better only in the limit"
        verdict = "not supported"
    else:
        text = "straightness did not help, with few evaluations or with unlimited ones"
    nfe = round(float(base.cost[0]))
    numbers = {"few": learned_value, "few_base": base_value}
    numbers |= {"limit": float(limit.mean()), "limit_base": float(against.mean())}
    return Finding(
        lead="No gain with unlimited compute",
        text=f"{text} ({METRICS[config.measure].words} with NFE {nfe} by "
        f"{METHODS[config.method].label}: {learned_value:.3f} against {base_value:.3f}; in the "
        "limit "
        f"{mean(limit)} against {mean(against)}). One network per path on one data set of the "
        "plane; the claim was made about images.",
        numbers={name: value for name, value in numbers.items() if np.isfinite(value)},
        verdict=verdict,
    )


def _order(first: NDArray, second: NDArray) -> int:
    """1 if the first value is larger for every seed, -1 if smaller for every seed, else 0."""
    signs = np.sign(first - second)
    signs = signs[signs != 0]
    return int(signs[0]) if len(signs) and (signs == signs[0]).all() else 0


STUDY = Study(
    __name__,
    "Cost of samples from learned and fixed paths",
    LearnedCostConfig,
    (compute, draw, table, say),
    page="learned_path",
    seconds=20.0,
    smallest={"n": 20, "seeds": 1, "nfes": (2, 4)},
)
