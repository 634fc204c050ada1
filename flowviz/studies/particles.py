"""Do an ODE and an SDE make the same densities? One path run by pairs, by its flow and by noise.

The flow dx = u_t dt and the SDE dx = (u_t + g^2/2 grad log p_t) dt + g dW have the same marginal
densities p_t for every g (Song et al. 2021, section 4.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from flowviz.datasets import parted
from flowviz.experiments.fields import EXACT, FieldRef, trained_name
from flowviz.experiments.particles import (
    FLOW,
    PAIRS,
    TOLERANCE,
    ParticlesResult,
    compute_particles,
    compute_truth,
)
from flowviz.experiments.particles import ParticlesConfig as Piece
from flowviz.fields.bridges import LearnedBridge
from flowviz.figures import curves, theme
from flowviz.progress import Progress
from flowviz.settings import Config, setting
from flowviz.stochastic import SAMPLERS
from flowviz.studies import Figures, Finding, Findings, Live, Study, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._lines import line_figure

DEFAULT = Piece()
LEARNED = "learned"
BUDGETS = (4, 6, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400)
"""Even numbers, because the midpoint method needs two evaluations per step."""


@dataclass(frozen=True, kw_only=True)
class ParticlesConfig(Config):
    """One path, sampled by pairs, by the ODE and by an SDE."""

    data: str = declare.data(DEFAULT.data, sources=True)
    path: str = declare.path(DEFAULT.path, help="The conditional path of all three panels.")
    sampler: str = setting(
        "euler-maruyama", "Sampler of the SDE", choices=SAMPLERS, help="How the SDE is solved."
    )
    noise: int = setting(
        100,
        "Noise level η of the SDE, %",
        bounds=(0, 200),
        work=0,
        help="How much noise the SDE adds and removes by the score. At 0% it is the flow; at "
        "100% it is the reverse of the diffusion that turns data into noise. From a data set: the "
        "diffusion of the Brownian bridges between the pairs, 1 at 100%; a network has its own.",
    )
    nfe: int = setting(
        DEFAULT.nfe,
        "NFE",
        bounds=(2, 2_000),
        work=1,
        offered=BUDGETS,
        help="Number of function evaluations of the flow (midpoint, two a step) and of the SDE "
        "(one a step).",
    )
    field: str = declare.field(
        EXACT,
        "The score of the SDE is computed from this velocity field, so a network trained for "
        "the flow drives the SDE, too.",
    )
    network: str = declare.network()
    seed: int = declare.seed()

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        if self.field == EXACT:
            return replace(self, network="")
        return replace(self, network=self.network or trained_name(self.data, self.path) or "")


@dataclass(frozen=True, kw_only=True, eq=False)
class Particles:
    """One of the three panels.

    Attributes:
        title: how the path is run.
        note: field and solver.
        config: what was computed.
        result: the particles.
    """

    title: str
    note: str
    config: Piece
    result: ParticlesResult


@dataclass(frozen=True, kw_only=True, eq=False)
class ParticlesStudyResult:
    """The panels computed so far: pairs, ODE, SDE."""

    panels: tuple[Particles, ...]

    @property
    def path(self) -> str:
        """The spec of the path."""
        return self.panels[-1].config.path


def compute(
    config: ParticlesConfig, live: Live, progress: Progress
) -> Iterator[ParticlesStudyResult]:
    """Computes the three panels one after the other; yields after each.

    Raises:
        ValueError: a solve failed; the message has the time and advice.
    """
    path, name = config.path, EXACT
    sourced = bool(parted(config.data)[0])
    if config.network:
        name = config.network
        path = path if name in live else FieldRef.of(name).path_spec
    kind, noise = "exact" if name == EXACT else "learned", config.noise / 100
    label = SAMPLERS[config.sampler].label.partition(" (")[0]
    shared: dict[str, Any] = {"path": path, "noise": 0.0}
    if sourced:
        field = live.get(name) or (None if name == EXACT else FieldRef.of(name).field)
        if isinstance(field, LearnedBridge):
            noise = field.noise
            shared["coupling"] = field.coupling
        shared["bridge"] = noise

    def sampled(**more: Any) -> Piece:
        return config.part(Piece, **shared | more)

    pairs = ("Brownian bridges", "random pairs") if sourced else ("Path samples", "fixed pairs")
    sde, strength = ("SDE, s", {}) if sourced else ("SDE, η", {"noise": noise})
    noisy = sampled(field=name, sampler=config.sampler, **strength)
    pieces = (
        (*pairs, sampled(field=EXACT, sampler=PAIRS)),
        ("ODE: the flow", f"{kind}, midpoint", sampled(field=name, sampler=FLOW)),
        (f"{sde} = {noise:g}", f"{kind}, {label}", noisy),
    )
    panels: list[Particles] = []
    truth = progress.cached(compute_truth, sampled(field=EXACT, sampler=PAIRS, seed=0))
    for title, note, piece in pieces:
        inputs = {"field": live.get(piece.field), "truth": truth}
        result = progress.cached(compute_particles, piece, **inputs)
        panels.append(Particles(title=title, note=note, config=piece, result=result))
        progress.report(len(panels) / len(pieces), title)
        yield ParticlesStudyResult(panels=tuple(panels))


def draw(config: ParticlesConfig, result: ParticlesStudyResult) -> Figures:
    """Energy distance of each panel to the density of the path at five times."""
    colour, first = theme.path_colour(result.path), result.panels[0].result
    lines = [
        curves.Curve(
            label="two random samples: mean, and up to the largest",
            colour=theme.colour("exact"),
            x=first.checked,
            y=first.floor,
            band=(np.zeros_like(first.floor), first.highest),
            dash="dash",
        )
    ]
    lines += [
        curves.Curve(
            label=each.title,
            colour=theme.pick(theme.MUTED) if each.config.sampler == PAIRS else colour,
            x=each.result.checked,
            y=each.result.energy,
            dash="dot" if each.config.sampler == config.sampler else "solid",
        )
        for each in result.panels
    ]
    yield line_figure(
        "marginals",
        "distance of the densities over time",
        "Energy distance of the particles of each panel to random samples of the path's "
        "density at five times, with the distance between random samples as the floor.",
        lines,
        y_title="energy distance to p<sub>t</sub>",
        markers=True,
    )


def table(config: ParticlesConfig, result: ParticlesStudyResult) -> Tables:
    """One row for each panel and time."""
    return [
        {
            "sampler": each.config.sampler,
            "t": each.result.checked,
            "energy": each.result.energy,
            "floor_mean": each.result.floor,
            "floor_highest": each.result.highest,
        }
        for each in result.panels
    ]


def say(config: ParticlesConfig, result: ParticlesStudyResult) -> Findings:
    """Whether ODE and SDE have the densities of the path, and how far they carry a particle."""
    if len(result.panels) < 3:
        yield Finding(text="the ODE and the SDE are compared when both are computed.")
        return
    pairs, flow, noisy = (each.result for each in result.panels)
    agree = flow.agrees and noisy.agrees
    last = (flow.energy, noisy.energy, flow.floor, flow.highest)
    ode, sde, floor, highest = (float(values[-1]) for values in last)
    text = (
        f"at t = 1 ODE and SDE are {ode:.3f} and {sde:.3f} from the data in energy distance; two "
        f"random samples of the data differ by {floor:.3f} on average and by up to {highest:.3f}"
    )
    if not agree:
        names = [n for n, r in (("ODE", flow), ("SDE", noisy)) if not r.agrees]
        text += (
            f"; with NFE {config.nfe} the {' and the '.join(names)} is at some time more than "
            f"{TOLERANCE:g} times as far from the density as any random sample, and smaller steps"
            f"{'' if result.panels[1].config.field == EXACT else ' or a better field'} would help"
        )
    yield Finding(
        lead="Same densities",
        text=f"{text}.",
        numbers={"ode": ode, "sde": sde, "floor": floor, "highest": highest},
        verdict="supported" if agree else "not supported",
    )
    sde_distance, pair_distance = (
        float(noisy.displacement.mean()),
        float(pairs.displacement.mean()),
    )
    flow_distance = float(flow.displacement.mean())
    text = (
        f"the flow moves a particle {flow_distance:.2f} on average from start to end, the SDE "
        f"{sde_distance:.2f} on "
        f"a trajectory {noisy.length.mean() / sde_distance:.1f} times as long; independent pairs "
        f"are {pair_distance:.2f} apart"
    )
    if not config.noise:
        text = "without noise the SDE is the flow, solved in other steps"
    elif sde_distance > 0.9 * pair_distance:
        text += ", so with this much noise a particle forgets where it started"
    yield Finding(
        lead="Different trajectories",
        text=f"{text}.",
        numbers={"ode": flow_distance, "sde": sde_distance, "pairs": pair_distance},
    )
    if config.field != EXACT and result.panels[1].config.field == EXACT:
        yield Finding(
            lead="No network",
            text="there is no network for this data set and path; the exact field is shown. "
            "The Train page trains one.",
        )
    yield Finding.note(
        f"{DEFAULT.n} particles against as many random samples of pₜ. A line inside the "
        "shaded range differs no more than two samples of one density do."
    )


STUDY = Study(
    __name__,
    "ODE or SDE: the same densities?",
    ParticlesConfig,
    (compute, draw, table, say),
    page="particles",
    seconds=2.0,
    smallest={"nfe": 10},
)
