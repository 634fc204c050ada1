"""Which marginal flow does a coupling make, and how straight is it?

The fields are exact: nothing is trained, see `flowviz.experiments.pairings`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from flowviz.experiments.pairings import (
    ALL,
    BRIDGE,
    PAIRS,
    REFLOW,
    SIZES,
    STD,
    MarginalConfig,
    MarginalResult,
    compute_marginal,
)
from flowviz.figures import theme
from flowviz.figures.pairings import Panel, over_minibatch, panels
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import path_line
from flowviz.studies._tables import tracks
from flowviz.studies.pairings import COUPLINGS, points_setting, titles

NAMES = {REFLOW: "reflow", BRIDGE: "entropic bridges"}
"""The couplings that are not named by the size of a batch."""

REFERENCE = 64
"""The minibatch size whose S is compared with that of independent pairs."""


@dataclass(frozen=True, kw_only=True)
class CoupledFlowConfig(Config):
    """Couplings of noise and data, and the path that joins each pair."""

    data: str = declare.data(help="Distribution that the noise is paired with.")
    n: int = points_setting()
    batch: int = setting(
        8,
        "Minibatch",
        choices={2**k: f"{2**k:,} pairs" for k in range(12)},
        offered=(4, 8, 16, 32),
        help="Number of pairs among which optimal transport chooses. In training it is the batch "
        "of a step.",
    )
    path: str = declare.path(
        help="How a pair is joined, in the marginal flows and in S. The pairs and their cost are "
        "the same on every path. Shape your own under *Schedules*.",
        offered=("ot", "shaped"),
    )
    sizes: tuple[int, ...] = setting(
        SIZES,
        "Minibatches",
        advanced=True,
        help=f"Sizes of the minibatches of the curve, powers of 2 up to {ALL}.",
    )
    seed: int = declare.seed(help="Of both samples.")

    @property
    def panels(self) -> tuple[int, ...]:
        """The couplings of the panels, by batch size."""
        largest = ALL if ALL in self.sizes else max(self.sizes)
        return 1, self.batch, largest, REFLOW, BRIDGE


@dataclass(frozen=True, kw_only=True, eq=False)
class CoupledFlowResult:
    """The marginal flows computed so far, by batch size, REFLOW or BRIDGE."""

    flows: Mapping[int, MarginalResult]

    def deviation(self, batch: int) -> float:
        """S of a flow; NaN if it is not computed yet."""
        return self.flows[batch].straightness.deviation if batch in self.flows else float("nan")


def compute(
    config: CoupledFlowConfig, live: Live, progress: Progress
) -> Iterator[CoupledFlowResult]:
    """Solves one flow after the other, those of the panels first; yields after each."""
    batches = list(dict.fromkeys((*config.panels, *config.sizes)))
    flows: dict[int, MarginalResult] = {}
    for batch in batches:
        name = NAMES.get(batch, f"minibatches of {batch:,} pairs")
        progress.report(len(flows) / len(batches), name)
        part = config.part(MarginalConfig, batch=batch)
        flows[batch] = progress.cached(compute_marginal, part)
        yield CoupledFlowResult(flows=dict(flows))


def draw(config: CoupledFlowConfig, result: CoupledFlowResult) -> Figures:
    """Trajectories of the same noise in each flow, and S over the size of the minibatch."""
    flow_panels = [
        Panel(
            title=title,
            lines=(f"S = {result.deviation(batch):.2g}",),
            colour=theme.path_colour(config.path),
            states=result.flows[batch].states[:, : config.n],
        )
        for title, batch in zip((*titles(config.batch), NAMES[BRIDGE]), config.panels, strict=True)
        if batch in result.flows
    ]
    yield NamedFigure(
        name="flows",
        title="marginal flows of the couplings",
        alt="Trajectories of the same noise in the marginal flow of each coupling: "
        + "; ".join(f"{panel.title}, {panel.lines[0]}" for panel in flow_panels)
        + ".",
        figure=panels(flow_panels, ends="ends of the flow"),
        squares=5,
    )
    sizes = [batch for batch in config.sizes if batch in result.flows]
    if len(sizes) > 1 and REFLOW in result.flows:
        yield _straightness(config, result, sizes)


def _straightness(
    config: CoupledFlowConfig, result: CoupledFlowResult, sizes: list[int]
) -> NamedFigure:
    """S over the size of the minibatch."""
    line = path_line(
        config.path,
        np.array(sizes, dtype=float),
        np.array([result.deviation(batch) for batch in sizes]),
        label="optimal transport within minibatches",
    )
    levels = [("reflow", result.deviation(REFLOW))]
    if config.path != "ot":
        alone = result.flows[config.panels[2]].alone
        levels.append((f"single pairs of {config.panels[2]:,}", alone))
    return NamedFigure(
        name="s",
        title="S of the marginal flow over minibatch size",
        alt="S of the marginal flow over the size of the minibatch, with lines at "
        + " and ".join(f"{value:.3g} ({label})" for label, value in levels)
        + ".",
        figure=over_minibatch(
            [line], sizes=config.sizes, y_title="S of the marginal flow", levels=levels, log_y=True
        ),
    )


def table(config: CoupledFlowConfig, result: CoupledFlowResult) -> Tables:
    """One row for each coupling, particle and time, with S of the coupling."""
    return [
        {
            "batch": NAMES.get(batch, str(batch)),
            "S": flow.straightness.deviation,
            "length_over_displacement": flow.straightness.arc_over_chord,
            "S_of_single_pairs": flow.alone,
            **tracks(np.linspace(0, 1, len(flow.states)), flow.states),
        }
        for batch, flow in result.flows.items()
    ]


def say(config: CoupledFlowConfig, result: CoupledFlowResult) -> Findings:
    """How straight the flows of the couplings are, and how much small minibatches suffice."""
    values = {
        name: result.deviation(batch)
        for name, batch in zip(COUPLINGS, config.panels, strict=False)
        if batch in result.flows
    }
    listed = ", ".join(
        f"{value:.2g} ({title})"
        for title, value in zip(titles(config.batch), values.values(), strict=False)
    )
    own_schedule = config.path != "ot"
    text = f"S of the marginal flow is {listed}."
    text += (
        "" if own_schedule else " At 0 all trajectories are straight, and one Euler step is exact."
    )
    yield Finding(lead="Same path, different flows", text=text, numbers=values)
    if own_schedule and config.panels[2] in result.flows and REFLOW in result.flows:
        alone, reflowed = (result.flows[b].alone for b in (config.panels[2], REFLOW))
        yield Finding(
            lead="Limit",
            text=f"the single pairs of optimal transport and of reflow have S {alone:.2f} and "
            f"{reflowed:.2f} on this schedule; the best couplings approach these values, not "
            "0 as on conditional OT.",
            numbers={"optimal": alone, "reflow": reflowed},
        )
    if not own_schedule and {1, REFERENCE} <= result.flows.keys():
        small, independent = result.deviation(REFERENCE), result.deviation(1)
        helps = small < independent / 2
        yield Finding(
            lead="Small minibatches",
            text=f"S is {independent:.2g} with independent pairs and {small:.2g} with minibatches "
            f"of {REFERENCE}, which {'straighten most of' if helps else 'change little of'} the "
            "flow.",
            numbers={"minibatch": small, "independent": independent},
            verdict="supported" if helps else "not supported",
        )
    if {1, BRIDGE} <= result.flows.keys():
        deviation, diffusion = result.deviation(BRIDGE), result.flows[BRIDGE].noise
        yield Finding(
            lead="Entropic bridges",
            text="Brownian bridges join the pairs of entropic optimal transport (diffusion "
            f"{diffusion:.2f}). SF2M learns their flow, whose S is {deviation:.2g}, against "
            f"{result.deviation(1):.2g} of independent pairs. The bridges approximate the "
            "Schrödinger bridge from noise to data.",
            numbers={"S": deviation, "diffusion": diffusion},
        )
    further = (
        "The pairs of reflow are those of the OT flow; the exact flow of your schedule has the "
        "same ends."
        if own_schedule
        else "The page “Is straighter better?”, claim 3, trains small networks on the same "
        "couplings."
    )
    yield Finding.note(
        "Nothing is trained here. The field of independent pairs is the closed form. Each other "
        f"field is the exact one of {PAIRS:,} pairs, smoothed by {STD:g} (as in Tong et al. "
        f"2023); the smoothing alone gives an S near 0.01. {further}"
    )


STUDY = Study(
    __name__,
    "Marginal flows of couplings",
    CoupledFlowConfig,
    (compute, draw, table, say),
    page="which_ot",
    seconds=25.0,
    smallest={"data": "mixture:1,-2@0.5", "sizes": (1,), "batch": 1},
)
