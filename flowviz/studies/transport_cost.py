"""How close do minibatches come to the optimal transport cost?

The cost E |x_1 - x_0|^2 of minibatch optimal transport falls with the size of the minibatch,
towards W_2^2; that of reflow is never above that of independent pairs (Liu et al. 2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.pairings import (
    ALL,
    REFLOW,
    SIZES,
    CostConfig,
    CostResult,
    compute_cost,
    cost_bound,
)
from flowviz.figures.pairings import over_minibatch
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import path_line


@dataclass(frozen=True, kw_only=True)
class TransportConfig(Config):
    """Noise and data, and the sizes of minibatches."""

    data: str = declare.data(help="Distribution that the noise is paired with.")
    sizes: tuple[int, ...] = setting(
        SIZES,
        "Minibatches",
        advanced=True,
        help=f"Sizes of the minibatches, powers of 2 up to {ALL}; 1 for independent pairs.",
    )
    seed: int = declare.seed(help="Of both samples.")


@dataclass(frozen=True, kw_only=True, eq=False)
class TransportResult:
    """The costs of reflow and of the first few minibatch sizes, and their lower bound."""

    bound: float
    reflow: CostResult
    sized: tuple[CostResult, ...]

    @property
    def costs(self) -> np.ndarray:
        """The costs of the minibatches, (K,)."""
        return np.array([each.cost for each in self.sized])


def compute(config: TransportConfig, live: Live, progress: Progress) -> Iterator[TransportResult]:
    """Computes one coupling after the other; yields after each minibatch size."""
    shared = {"data": config.data, "seed": config.seed}
    bound = progress.cached(cost_bound, config.data)
    reflow = progress.cached(compute_cost, CostConfig(batch=REFLOW, **shared))
    sized: list[CostResult] = []
    for batch in config.sizes:
        progress.report(len(sized) / len(config.sizes), f"minibatches of {batch:,} pairs")
        sized.append(progress.cached(compute_cost, CostConfig(batch=batch, **shared)))
        yield TransportResult(bound=bound, reflow=reflow, sized=tuple(sized))


def draw(config: TransportConfig, result: TransportResult) -> Figures:
    """The cost over the size of the minibatch."""
    costs, errors = result.costs, np.array([each.error for each in result.sized])
    line = path_line(
        "ot",
        np.array(config.sizes[: len(costs)], dtype=float),
        costs,
        label="optimal transport within minibatches",
        band=(costs - errors, costs + errors),
    )
    levels = [
        ("reflow", result.reflow.cost),
        ("lower bound of any coupling (Gelbrich)", result.bound),
    ]
    figure = over_minibatch(
        [line],
        sizes=config.sizes,
        y_title="transport cost E|<i>x</i><sub>1</sub> − <i>x</i><sub>0</sub>|²",
        levels=levels,
    )
    yield NamedFigure(
        name="cost",
        title="transport cost over minibatch size",
        alt="Transport cost over the size of the minibatch, with lines at "
        f"{' and '.join(f'{value:.3g} ({label})' for label, value in levels)}.",
        figure=figure,
    )


def table(config: TransportConfig, result: TransportResult) -> Tables:
    """One row for each minibatch size, and one for reflow."""
    rows = [*zip(map(str, config.sizes), result.sized, strict=False), ("reflow", result.reflow)]
    return [
        {"batch": batch, "cost": each.cost, "cost_error": each.error, "lower_bound": result.bound}
        for batch, each in rows
    ]


def say(config: TransportConfig, result: TransportResult) -> Findings:
    """The decrease of the cost with the batch size, and bounds of the optimal cost."""
    costs, reflow, bound = result.costs, result.reflow, result.bound
    last = config.sizes[len(costs) - 1]
    if len(costs) > 1:
        yield Finding(
            lead="Larger minibatches",
            text=f"the transport cost is {costs[0]:.1f} with minibatches of {config.sizes[0]} and "
            f"{costs[-1]:.2f} with {last:,}. The larger the minibatch, the closer to W₂²; a small "
            "sample costs a little more by chance.",
            numbers={"first": float(costs[0]), "last": float(costs[-1])},
            verdict="supported" if (np.diff(costs) < 0).all() else "not supported",
        )
    upper = min(reflow.cost, costs[-1])
    yield Finding(
        lead="Bounds of W₂²",
        text=f"the smallest cost of any coupling is between {bound:.2f} (Gelbrich's bound) and "
        f"about {upper:.2f}. Reflow costs {reflow.cost:.2f} ± {reflow.error:.2f}.",
        numbers={"reflow": reflow.cost, "error": reflow.error, "bound": bound},
    )


STUDY = Study(
    __name__,
    "Transport cost of couplings",
    TransportConfig,
    (compute, draw, table, say),
    page="which_ot",
    seconds=5.0,
    smallest={"sizes": (1, 16)},
)
