"""The page on a learned path: ways, measures and cost beside fixed paths, and live training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.distributions import PointMasses
from flowviz.experiments import learned_path as experiments
from flowviz.experiments.learned_path import Bending, BendingConfig, Ways, WaysConfig
from flowviz.experiments.likelihood import LikelihoodConfig
from flowviz.experiments.solver_curves import SolverCurve, curve_configs
from flowviz.figures import curves
from flowviz.figures import learned_path as figures
from flowviz.metrics import METRICS
from flowviz.solvers import METHODS
from flowviz.studies._common import fixed_methods
from flowviz.studies._cost import curves_so_far
from flowviz.training import NfdmConfig
from flowviz.ui import cache, data_picker, downloads, figure, paths, state, work
from flowviz.ui.learned_path import training, words
from flowviz.ui.learned_path.flows import DATA_POINTS, Shown, flows
from flowviz.ui.learned_path.words import Told
from flowviz.ui.pieces import gather
from flowviz.ui.theme import is_dark

__all__ = ["Settings", "controls", "show"]

DEFAULT = NfdmConfig()
POINTS, FEWER = 2_000, 250
"""Fresh data whose likelihood is measured where a card does not tell it: of a network, and of an
exact field, each point of which costs more."""

NFES = (2, 4, 8, 16, 32, 64)
MEASURES = ("sliced-w2", "histogram-tv", "energy")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    method: str
    measure: str
    seed: int
    own: str
    """Spec of the visitor's schedule, if it stands beside the others."""
    training: NfdmConfig


@dataclass(frozen=True, kw_only=True)
class _Likely:
    """A negative log-likelihood and how far it is above the entropy, in nats."""

    nll: float
    kl: float | None
    error: float


def controls() -> Settings:
    """The sidebar: the data, how samples are judged, and how a path is learned."""
    with st.sidebar:
        data = data_picker.pick(DEFAULT.data)
        method = state.select(
            "solver",
            "ODE solver of the cost curves",
            fixed_methods(),
            "euler",
            help="Euler's steps are tangents: exact where ways are straight.",
        )
        measure = state.select(
            "measure",
            "Sample quality",
            {name: METRICS[name].label for name in MEASURES},
            MEASURES[0],
            help=METRICS.sentences(MEASURES),
        )
        seed = state.seed(help="The same on every path.")
        own = paths.also_own(
            help="Your own schedule beside OT and VP: by the network that you trained on it for "
            "this data set (page *Train*), else by its exact field, and the label says which."
        )
        config = training.controls(data)
    return Settings(data=data, method=method, measure=measure, seed=seed, own=own, training=config)


def show(settings: Settings) -> None:
    """All of the page below its title.

    Raises:
        ValueError: a flow cannot be followed; the message says where.
    """
    training.adopt(settings.training)
    shown = flows(settings.data, settings.own)
    found = _measured(settings, shown)
    if found is not None:
        ways, bent, likely = found
        _ways(settings, shown, ways)
        rows = [_told(*each) for each in zip(shown, bent, likely, strict=True)]
        st.markdown(words.straightness(rows))
        _table(settings, shown, bent, likely)
        _cost(settings, shown, rows)
    _note()
    training.section(settings.training)


_ways_of: Callable[..., Ways] = cache.kept(experiments, "compute_ways", 64)
_bending_of: Callable[..., Bending] = cache.kept(experiments, "compute_bending", 64)


def _measured(
    settings: Settings, shown: Sequence[Shown]
) -> tuple[list[Ways], list[Bending], list[_Likely | None]] | None:
    """The ways, the straightness and the likelihood of each flow; None if it was stopped."""
    pieces: list[Callable[[], object]] = []
    for each in shown:
        asked = {"data": settings.data, "path": each.path, "field": each.field}
        pieces += [
            partial(_ways_of, WaysConfig(**asked, seed=settings.seed), each.network),
            partial(_bending_of, BendingConfig(**asked), each.network),
            partial(_likely, settings.data, each),
        ]
    token = (settings.data, settings.seed, tuple((each.path, each.field) for each in shown))
    found = gather("learned-path", pieces, label="Following the flows", token=token)
    return None if found is None else (found[::3], found[1::3], found[2::3])


def _likely(data: str, each: Shown) -> _Likely | None:
    """The likelihood of fresh data, from the card where it is there; None of points."""
    if isinstance(data_picker.dataset(data).distribution, PointMasses):
        return None
    kept = (each.card.quality.get("likelihood") if each.card else None) or {}
    if kept.get("n", 0) >= POINTS:
        return _Likely(nll=kept["nll"], kl=kept["kl"], error=kept["error"])
    n = POINTS if each.network is not None else FEWER
    config = LikelihoodConfig(data=data, path=each.path, field=each.field, n=n)
    made = cache.likelihood(config, each.network)
    return _Likely(nll=made.nll, kl=made.kl, error=made.error)


def _told(each: Shown, bent: Bending, likely: _Likely | None) -> Told:
    return Told(
        label=each.label,
        learned=each.learned,
        deviation=bent.deviation,
        # Less the data's own chance: flows may have been judged by other draws.
        nll=None if likely is None else likely.nll if likely.kl is None else likely.kl,
        error=0.0 if likely is None else likely.error,
    )


def _ways(settings: Settings, shown: Sequence[Shown], found: Sequence[Ways]) -> None:
    figure.show(
        figures.ways(
            [
                figures.Column(
                    label=each.short,
                    colour=each.colour,
                    conditional=ways.conditional,
                    flow=ways.flow,
                )
                for each, ways in zip(shown, found, strict=True)
            ],
            data_picker.points(settings.data, DATA_POINTS),
            dark=is_dark(),
        ),
        "learned-path-ways",
        title="ways of the process and of the flow",
        alt="Above, ways from noise to three data points on each path; below, the ways of the "
        "flow from the same noise: " + ", ".join(each.label for each in shown) + ".",
        settings={"data": settings.data, "seed": settings.seed}
        | {f"field {k}": each.field for k, each in enumerate(shown)},
        columns=partial(_way_columns, shown, found),
        filename="flowviz-learned-path-ways",
        squares=2 if len(shown) > 3 else 1,  # two rows of them
    )


def _way_columns(shown: Sequence[Shown], found: Sequence[Ways]) -> Mapping[str, NDArray]:
    tables = []
    for each, ways in zip(shown, found, strict=True):
        for kind, states in (("given data", ways.conditional), ("flow", ways.flow)):
            frames, count, _ = states.shape
            tables.append(
                {
                    "path": each.label,
                    "kind": kind,
                    "way": np.tile(np.arange(count), frames),
                    "t": np.repeat(np.linspace(0, 1, frames), count),
                    "x1": states[..., 0].ravel(),
                    "x2": states[..., 1].ravel(),
                }
            )
    return downloads.stacked(tables)


def _table(
    settings: Settings,
    shown: Sequence[Shown],
    bent: Sequence[Bending],
    likely: Sequence[_Likely | None],
) -> None:
    """The numbers, and straightness against likelihood."""
    st.subheader("How straight, how likely")
    st.dataframe(
        {
            "flow": [each.label for each in shown],
            "S": [round(b.deviation, 3) for b in bent],
            "arc ÷ chord": [round(b.arc_over_chord, 3) for b in bent],
            "−log p, nats": [_cell(each and each.nll) for each in likely],
            "KL(data ‖ flow), nats": [
                "–" if each is None or each.kl is None else f"{each.kl:z.3f} ± {each.error:.3f}"
                for each in likely
            ],
            "bound, nats": [
                "–" if b.bound is None else f"{b.bound:.2f} ± {b.bound_error:.2f}" for b in bent
            ],
        },
        hide_index=True,
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.caption(
            f"S: mean square difference of the velocity from the chord, of {BendingConfig.n:,} "
            "particles, summed over dimensions. −log p: of fresh data, by the change of variables "
            "along the converged flow."
        )
        st.caption(
            "The bound holds for the diffusion that has the flow's velocity and the predicted "
            "score beside it, so that −log p of the flow may lie on either side: where the two "
            "disagree, velocity and score are not those of one density."
        )
        varied = words.seeds(settings.data)
        if varied and any(each.learned and each.card for each in shown):
            st.caption(varied)
    spots = [
        figures.Spot(
            label=each.label,
            colour=each.colour,
            straightness=b.deviation,
            excess=found.nll if found.kl is None else found.kl,
            error=found.error,
            symbol=each.symbol,
        )
        for each, b, found in zip(shown, bent, likely, strict=True)
        if found is not None and b.deviation > 0
    ]
    if not spots:
        return
    with right:
        figure.show(
            figures.trade(spots, y_title="KL(data ‖ flow), nats (± 2 s.e.)", dark=is_dark()),
            "learned-path-trade",
            title="straightness against likelihood",
            alt="; ".join(
                f"{s.label}: S {s.straightness:.3g}, {s.excess:.3g} nats" for s in spots
            ),
            settings={"data": settings.data, "seed": settings.seed},
            columns=lambda: {
                "flow": np.array([s.label for s in spots]),
                "S": np.array([s.straightness for s in spots]),
                "nats": np.array([s.excess for s in spots]),
                "standard_error": np.array([s.error for s in spots]),
            },
        )


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cost(settings: Settings, shown: Sequence[Shown], rows: Sequence[Told]) -> None:
    """Error and quality against NFE of every flow that has a file, by the common sweeps."""
    st.subheader("What samples cost")
    named = {each.source(settings.data): each for each in shown}
    named.pop(None, None)
    configs = tuple(
        curve_configs(
            named,
            (settings.method,),
            measure=settings.measure,
            nfes=NFES,
            seed=settings.seed,
        )
    )
    told = dict(zip((each.source(settings.data) for each in shown), rows, strict=True))
    work.show(
        "learned-path-nfe",
        configs,
        partial(curves_so_far, configs),
        partial(_curves, settings, named, told),
        label="Error and quality against NFE",
    )


def _curves(
    settings: Settings,
    named: Mapping[str, Shown],
    told: Mapping[str, Told],
    found: Sequence[SolverCurve],
) -> None:
    metric, solver = METRICS[settings.measure], METHODS[settings.method].label
    floor = float(found[0].floor[settings.measure].mean())
    drawn = {
        "error": ("squared error per dimension", [each.mse for each in found], None),
        "quality": (metric.label, [each.values[settings.measure] for each in found], floor),
    }
    for place, (name, (title, values, level)) in zip(st.columns(2), drawn.items(), strict=True):
        lines = []
        for curve, value in zip(found, values, strict=True):
            each = named[curve.config.source]
            kept = np.isfinite(value).all(axis=1)
            runs = value[kept]
            lines.append(
                curves.Curve(
                    label=each.label,
                    colour=each.colour,
                    x=curve.cost[kept],
                    y=runs.mean(axis=1),
                    floor=level,
                    band=(runs.min(axis=1), runs.max(axis=1)),
                    dash=each.dash,
                )
            )
        plot = curves.curves(
            lines,
            x_title=f"function evaluations (NFE), {solver}",
            y_title=title,
            floor_label="best possible, same noise",
            log_x=True,
            log_y=True,
            markers=True,
            x_ticks=sorted({round(nfe) for curve in found for nfe in curve.cost}),
            dark=is_dark(),
        )
        with place:
            figure.show(
                plot,
                f"learned-path-{name}",
                title=title,
                alt=f"{title} against function evaluations: "
                + "; ".join(
                    f"{line.label} ends at {line.y[-1]:.3g}" for line in lines if len(line.y)
                ),
                settings={"data": settings.data, "seed": settings.seed, "solver": settings.method},
                columns=partial(_cost_columns, lines, name),
                filename=f"flowviz-learned-path-{name}",
            )
    known = {curve.config.source: curve for curve in found}
    if len(known) == len(named):
        first = next(iter(known.values()))
        rows = [
            Told(
                **{key: getattr(told[source], key) for key in ("label", "learned", "deviation")},
                few=float(np.nan_to_num(curve.values[settings.measure][0].mean(), nan=np.inf)),
                limit=tuple(curve.limit[settings.measure].tolist()),
            )
            for source, curve in ((source, known[source]) for source in named)
        ]
        st.markdown(words.claim(rows, round(first.cost[0]), metric.label, solver))


def _cost_columns(lines: Sequence[curves.Curve], name: str) -> Mapping[str, NDArray]:
    return {
        "flow": np.concatenate([np.full(len(line.x), line.label) for line in lines]),
        "nfe": np.concatenate([line.x for line in lines]),
        name: np.concatenate([line.y for line in lines]),
    }


def _note() -> None:
    with st.expander("What is learned, and what of it is ours"):
        st.markdown(
            "**Forward process** (neural flow diffusion, Bartosh et al. 2024, arXiv 2404.12940, "
            "with our clock, t = 0 noise): "
            "$x_t = F_\\varphi(x_0, t, x_1) = m_\\varphi(t, x_1) + s_\\varphi(t, x_1)\\, x_0$, "
            "noise at $t = 0$ and data at $t = 1$ by construction. Its conditional velocity is "
            "$f = \\dot m + \\dot s\\,(x - m)/s$, its conditional score $g = (m - x)/s^2$. A "
            "second network predicts the data, $\\hat x_1 = h_\\theta(t, x)$; the flow that is "
            "sampled follows $f(t, x \\mid \\hat x_1)$."
        )
        st.markdown(
            "**Both are trained by one bound**, without simulating: $-\\log p(x_1) \\le "
            "\\mathbb E \\int_0^1 \\frac{1}{2\\nu^2} \\lVert f - \\hat f + \\tfrac{\\nu^2}{2} "
            "(g - \\hat g) \\rVert^2 dt$ + prior + reconstruction, with a learned strength "
            "$\\nu(t)$ of the diffusion. **The penalty** adds "
            "$\\lambda\\, \\mathbb E \\lVert \\tfrac{d}{dt} \\hat f(t, x_t) \\rVert^2$, the "
            "acceleration along the flow."
        )
        st.markdown(
            "The form of the diffusion term is that of the authors' notebook. The reconstruction "
            "term, the sines of time in $m$ and $s$ and the difference quotient in the penalty "
            "are ours, and that this is the authors' penalty (NFDM-OT) is recalled, not checked "
            "against their text. A learned path is not of the form $\\alpha_t x_1 + \\sigma_t "
            "x_0$, so that even its perfect flow need not carry a particle to where those of the "
            "other paths do. The doubt whether straightness helps with unlimited compute is that "
            "of the study's authors, not of Bartosh et al."
        )
