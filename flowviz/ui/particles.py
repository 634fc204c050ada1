"""The parts of the page "ODE or SDE": its sidebar, its three panels, its words and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments import particles as experiment
from flowviz.experiments.evolution import EXACT, SceneConfig
from flowviz.experiments.particles import (
    FLOW,
    PAIRS,
    TOLERANCE,
    NoiseConfig,
    ParticlesConfig,
    ParticlesResult,
    compute_noise,
)
from flowviz.figures import curves, theme
from flowviz.schedulers import scheduler
from flowviz.stochastic import RENEWAL, SAMPLERS
from flowviz.ui import cache, data_picker, downloads, figure, paths, state
from flowviz.ui import player as players
from flowviz.ui.field_picker import choose, networks
from flowviz.ui.theme import is_dark

__all__ = ["Settings", "Way", "controls", "equations", "figures", "lesson", "player", "ways"]

DEFAULT = ParticlesConfig()
BUDGETS = (4, 6, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400)
"""Even, for the midpoint method takes two evaluations a step."""

SHOWN = {"1": "One", "6": "A few", "600": "A crowd"}
FEW = players.View(layers=("particles", "trails", "density"))
"""How the player opens: the ways are what this page is about."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    path: str
    field: str
    """"exact" or "learned"."""
    sampler: str
    noise: float
    nfe: int
    shown: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Way:
    """One panel: how the path is run, and where that took the particles."""

    title: str
    note: str
    config: ParticlesConfig
    result: ParticlesResult


def controls() -> Settings:
    """The sidebar: what is run, and how much noise the diffusion adds and takes out."""
    with st.sidebar:
        data = data_picker.pick(DEFAULT.data)
        path = paths.select(
            "path", "Path", DEFAULT.path, help="The conditional path that all three panels share."
        )
        sampler = state.select(
            "sampler",
            "Sampler of the SDE",
            SAMPLERS.labels,
            "euler-maruyama",
            help=SAMPLERS.sentences(),
        )
        levels = range(0, round(100 * SAMPLERS[sampler].most) + 1, 10)
        noise = state.budget(
            "noise",
            "Noise level η of the SDE, %",
            levels,
            100,
            help="How much noise the SDE adds, and takes out again by the score. At 0 it is the "
            "flow; at 100 it is the diffusion that makes noise of data, run in reverse.",
        )
        nfe = state.budget(
            "nfe",
            "Budget: function evaluations (NFE)",
            BUDGETS,
            DEFAULT.nfe,
            help="Of the flow (midpoint, two a step) and of the SDE (one a step).",
        )
        field = state.segmented(
            "field",
            "Velocity field",
            {"learned": "Learned", EXACT: "Exact"},
            EXACT,
            help="The score is computed from the velocity of this field, so that a network that "
            "was trained for the flow drives the SDE too.",
        )
        shown = state.segmented("shown", "Particles on show", SHOWN, "6")
        seed = state.seed("Seed", DEFAULT.seed)
    return Settings(
        data=data,
        path=path,
        field=field,
        sampler=sampler,
        noise=noise / 100,
        nfe=nfe,
        shown=int(shown),
        seed=seed,
    )


def ways(settings: Settings) -> list[Way]:
    """All three panels; what was computed before is not computed again.

    Raises:
        ValueError: a solve failed; the message says where and what to do.
    """
    path, field, network = settings.path, EXACT, None
    if settings.field != EXACT:
        name = next(iter(networks(settings.data, path)), "")
        path, field, network = choose(settings.data, path, name)
    make = partial(
        ParticlesConfig,
        data=settings.data,
        path=path,
        field=field,
        nfe=settings.nfe,
        seed=settings.seed,
    )
    kind = "exact" if field == EXACT else "learned"
    label = SAMPLERS[settings.sampler].label.partition(" (")[0]
    return [
        Way(title=title, note=note, config=config, result=_particles(config, network))
        for title, note, config in (
            ("Path samples", "fixed pairs", make(field=EXACT, way=PAIRS)),
            ("ODE: the flow", f"{kind}, midpoint", make(way=FLOW)),
            (
                f"SDE, η = {settings.noise:g}",
                f"{kind}, {label}",
                make(way=settings.sampler, noise=settings.noise),
            ),
        )
    ]


_particles: Callable[..., ParticlesResult] = cache.kept(experiment, "compute_particles", 64)


@st.cache_data(max_entries=64, show_spinner=False)
def _packed(configs: tuple[ParticlesConfig, ...], shown: int, _ways: Sequence[Way]) -> bytes:
    return players.pack([_panel(way, shown) for way in _ways])


def player(settings: Settings, ways: Sequence[Way]) -> players.View:
    """The moving picture of all panels under one clock; returns what the visitor looks at."""
    scene_config = SceneConfig(data=settings.data, path=ways[1].config.path)
    scene = cache.scene(scene_config)
    packed = cache.packed_scene(
        scene_config,
        players.Scene(times=scene.times, density=scene.density, velocity=scene.velocity),
    )
    initial = players.View(
        t=state.opened("t", 0.0, lambda raw: players.View(t=float(raw)).t),
        layers=state.opened("layers", FEW.layers, _layers),
    )
    view = players.player(
        _packed(tuple(way.config for way in ways), settings.shown, ways),
        [packed] * len(ways),
        key="particles",
        initial=initial,
    )
    state.publish("t", round(view.t, 3), 0.0)
    state.publish("layers", view.layers, FEW.layers, write=",".join)
    return view


def _layers(raw: str) -> tuple[str, ...]:
    return players.View(layers=tuple(name for name in raw.split(",") if name)).layers


def _panel(way: Way, shown: int) -> players.Panel:
    result = way.result
    states = result.states[:, :shown]
    evaluations = "none: each point is drawn from its own pair" if way.config.way == PAIRS else ""
    return players.Panel(
        title=way.title,
        role=way.config.path.split(":")[0],
        times=result.times,
        states=states,
        step_times=result.times,
        step_states=states,
        readouts=(
            players.Readout(
                "NFE used",
                result.nfe,
                0,
                help=f"Function evaluations, counted while solving; {evaluations}"
                if evaluations
                else "Function evaluations, counted while solving.",
            ),
            players.Readout(
                "From start to end",
                result.displacement.mean(),
                2,
                help=f"Mean over {len(result.displacement)} particles of the distance from start "
                "to end.",
            ),
            players.Readout(
                "Energy distance to data",
                result.energy[-1],
                3,
                help=f"At t = 1, of {len(result.displacement)} particles to as many fresh data; "
                f"two samples of the data are {result.floor[-1]:.3f} apart, at most "
                f"{result.highest[-1]:.3f}.",
            ),
        ),
        note=way.note,
    )


def lesson(settings: Settings, ways: Sequence[Way]) -> str:
    """One caption that says, from the numbers, what to notice; Markdown."""
    pairs, flow, noisy = (way.result for way in ways)
    within = [flow.agrees, noisy.agrees]
    ends = (
        f"ODE and SDE end {flow.energy[-1]:.3f} and {noisy.energy[-1]:.3f} from the data in "
        f"energy distance; two samples of the data are {flow.floor[-1]:.3f} apart on average and "
        f"up to {flow.highest[-1]:.3f}. "
    )
    if all(within):
        verdict = (
            "**The same densities at five times, by entirely different ways**: no sample tells "
            "which of the two made it. "
            if settings.noise
            else "**Without noise the SDE is the flow itself**, in steps of another kind. "
        )
    else:
        names = [name for name, good in zip(("ODE", "SDE"), within, strict=True) if not good]
        is_far = "is" if len(names) == 1 else "are"
        verdict = (
            f"**With {settings.nfe} evaluations the {' and the '.join(names)} {is_far} at some "
            f"of five times more than {TOLERANCE:g} times as far from the density as any fresh "
            "set:** the densities agree in the limit of small steps"
            + (" and of a perfect field. " if ways[1].config.field != EXACT else ". ")
        )
    far = noisy.displacement.mean()
    memory = (
        f"The flow carries a particle {flow.displacement.mean():.2f} on average from its start "
        f"to its end, the SDE {far:.2f} along a way {noisy.length.mean() / far:.1f} times as "
        f"long; noise and data that know nothing of each other are "
        f"{pairs.displacement.mean():.2f} apart. "
    )
    if settings.noise and far > 0.9 * pairs.displacement.mean():
        memory += "So this much noise makes a particle *forget* where it began. "
    untrained = settings.field != EXACT and ways[1].config.field == EXACT
    if untrained:
        memory += (
            "*No network has been trained on this data set and path, so that the exact field is "
            "shown: train one on the Train page.*"
        )
    return ends + verdict + memory


def figures(settings: Settings, ways: Sequence[Way]) -> None:
    """The densities' distance at five times, or how much noise is added when."""
    options = {"marginals": "Are the densities the same?", "noise": "Noise over time"}
    chosen = state.segmented(
        "figure", "Figure", options, "marginals", label_visibility="collapsed"
    )
    {"marginals": _marginals, "noise": _noise}[chosen](settings, ways)


def _marginals(settings: Settings, ways: Sequence[Way]) -> None:
    colour = theme.path_colour(ways[1].config.path, dark=is_dark())
    muted = theme.MUTED[is_dark()]
    first = ways[1].result
    times = first.checked
    lines = [
        curves.Curve(
            label=way.title,
            colour=muted if way.config.way == PAIRS else colour,
            x=times,
            y=way.result.energy,
            dash="dot" if way.config.way == settings.sampler else "solid",
        )
        for way in ways
    ]
    fresh = curves.Curve(
        label="two samples of the data: mean, and up to the largest",
        colour=theme.colour("exact", dark=is_dark()),
        x=times,
        y=first.floor,
        band=(np.zeros_like(first.floor), first.highest),
        dash="dash",
    )
    figure.show(
        curves.curves(
            [fresh, *lines],
            x_title="time t  (0 noise, 1 data)",
            y_title="energy distance to p<sub>t</sub>",
            markers=True,
            dark=is_dark(),
        ),
        "marginals",
        title="distance of the densities over time",
        alt="Energy distance of the particles of each way to fresh draws of the path's density at "
        "five times, with the distances of fresh draws among each other as the floor.",
        settings=_about(settings, ways),
        columns=lambda: downloads.stacked(
            [
                {"way": way.config.way, "t": times, "energy": way.result.energy}
                | {"fresh_mean": way.result.floor, "fresh_highest": way.result.highest}
                for way in ways
            ]
        ),
        filename=f"flowviz-{settings.data.partition(':')[0]}-marginals",
    )
    st.caption(
        f"{DEFAULT.n} particles against {DEFAULT.n} fresh draws of $p_t$ from pairs. What lies in "
        "the shaded range is no more than two samples of one density differ by."
    )


def _noise(settings: Settings, ways: Sequence[Way]) -> None:
    path = ways[1].config.path
    shown = dict.fromkeys([path, "ot", "vp", "trig"])
    lines = []
    for spec in shown:
        found = compute_noise(NoiseConfig(path=spec, noise=settings.noise))
        lines.append(
            curves.Curve(
                label=scheduler(spec).label,
                colour=theme.path_colour(spec, dark=is_dark()),
                x=found.times,
                y=found.g,
                dash="solid" if spec == path else "dot",
            )
        )
    figure.show(
        curves.curves(
            lines,
            x_title="time t  (0 noise, 1 data)",
            y_title="noise g<sub>t</sub>",
            dark=is_dark(),
        ),
        "noise",
        title="noise over time",
        alt="The strength g of the SDE's noise over time, for several paths.",
        settings=_about(settings, ways),
        columns=partial(_table, list(shown), lines),
        filename="flowviz-noise",
    )
    st.caption(
        r"$g_t = \eta\,\sigma_t \sqrt{2\,\tfrac{\mathrm d}{\mathrm dt}\log(\alpha_t/\sigma_t)}$ "
        rf"at $\eta$ = {settings.noise:g}. On VP that is $\eta \sqrt{{\beta(1-t)}}$, the noise of "
        "the reverse diffusion. OT's would be infinite at t = 0, where all is noise and its "
        rf"renewal changes nothing: $\dot\alpha_t/\alpha_t$ counts for at most {RENEWAL:g}."
    )


def _table(names: Sequence[str], lines: Sequence[curves.Curve]) -> Mapping[str, NDArray]:
    return downloads.stacked(
        [{"path": name, "t": c.x, "g": c.y} for name, c in zip(names, lines, strict=True)]
    )


def _about(settings: Settings, ways: Sequence[Way]) -> dict[str, object]:
    return {
        "data": settings.data,
        "path": ways[1].config.path,
        "field": ways[1].config.field,
        "sampler": settings.sampler,
        "noise level": settings.noise,
        "nfe": settings.nfe,
        "particles": DEFAULT.n,
        "seed": settings.seed,
    }


def equations(settings: Settings) -> None:
    """A folded note: what each panel does, and why all have the same densities."""
    with st.expander("Why the densities are the same"):
        st.markdown(
            "**Path samples:** $x_t = \\alpha_t x_1 + \\sigma_t x_0$ for fixed pairs; by "
            "definition their density is $p_t$.\n\n"
            "**ODE:** $\\mathrm dx = u_t(x)\\,\\mathrm dt$ with the marginal velocity "
            "$u_t(x) = \\mathbb E[\\dot x_t \\mid x_t = x]$: the continuity equation "
            "$\\partial_t p = -\\nabla\\!\\cdot(u p)$ has the solution $p_t$.\n\n"
            "**SDE:** $\\mathrm dx = \\bigl(u_t + \\tfrac{g_t^2}{2} \\nabla\\log p_t\\bigr) "
            "\\mathrm dt + g_t\\,\\mathrm dW$. Its Fokker–Planck equation adds "
            "$-\\nabla\\!\\cdot\\bigl(\\tfrac{g^2}{2} p\\,\\nabla \\log p\\bigr) + "
            "\\tfrac{g^2}{2} \\Delta p = 0$, for $p\\,\\nabla\\log p = \\nabla p$: whatever "
            "$g_t$, the same $p_t$ (Song et al. 2021).\n\n"
            "**The noise** is $g_t^2 = 2\\eta^2 \\sigma_t^2\\, \\tfrac{\\mathrm d}{\\mathrm dt}"
            "\\log(\\alpha_t/\\sigma_t)$; at $\\eta = 1$ this reverses the diffusion that turns "
            "data into noise along this path. **The ancestral sampler** predicts data and noise "
            "and mixes them for the next time with a fresh part of noise of variance "
            "$\\eta^2 \\sigma_{t'}^2 \\bigl(1 - (\\lambda_t/\\lambda_{t'})^2\\bigr)$, "
            "$\\lambda = \\alpha/\\sigma$: DDPM at $\\eta = 1$, DDIM at $\\eta = 0$."
        )
        entry = scheduler(settings.path)
        st.markdown(f"**This path**, {entry.label}: ${entry.symbol}$.")
