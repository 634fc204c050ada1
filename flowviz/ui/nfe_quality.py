"""The NFE page: what samples cost, curve by curve, and what the numbers say."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.datasets import DATASETS
from flowviz.experiments import nfe_quality
from flowviz.experiments.evaluate import LOST
from flowviz.experiments.nfe_quality import (
    ERROR_LEVEL,
    MARGIN,
    QUICK,
    SHARE_LEVEL,
    Curve,
    Reach,
    Steps,
    StepsConfig,
    SweepConfig,
    pairs,
)
from flowviz.experiments.sources import PREFIX, exact_name, pinned, source
from flowviz.figures import cost, theme
from flowviz.grids import GRIDS
from flowviz.metrics import METRICS, unbounded
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import METHODS
from flowviz.ui import cache, data_picker, figure, paths, state, sweeps
from flowviz.ui.theme import is_dark

__all__ = [
    "FIXED",
    "Settings",
    "arrivals",
    "controls",
    "draw_all",
    "goal_of",
    "opening_pair",
    "show",
    "streamed",
]

PAPER = "about 60 %"
"""What Lipman et al. 2022 say of OT's NFE against diffusion's (section 6.2, Fig. 7)."""

POLL = 0.7
"""Seconds between looks at a sweep."""

DEFAULT = SweepConfig(
    sources=(exact_name("checkerboard", "ot"), exact_name("checkerboard", "vp")),
)
MEASURE = "histogram-tv"
"""The measure that the page opens with: the one that varies least from draw to draw."""

TABLE_STYLE = """<style>
.fv-goals { overflow-x: auto; }
.fv-goals table { border-collapse: collapse; width: 100%; font-size: 0.875rem; }
.fv-goals th, .fv-goals td { padding: 0.3rem 0.6rem; text-align: right; }
.fv-goals th { font-weight: 400; }
.fv-goals th:first-child { text-align: left; }
.fv-goals thead th { vertical-align: bottom; opacity: 0.75; }
.fv-goals th[colspan] { font-weight: 600; text-align: center; opacity: 1; }
.fv-goals tr { border-bottom: 1px solid rgba(128, 136, 144, 0.35); }
.fv-goals td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.fv-goals .ratio { font-weight: 600; padding-right: 1.4rem; }
</style>"""
"""Markdown has no table with two rows of heads."""

SIZES = (500, 1_000, 2_000, 4_000)
TOLERANCES = {"0.1": "10⁻¹", "0.01": "10⁻²", "0.001": "10⁻³", "0.0001": "10⁻⁴", "1e-05": "10⁻⁵"}
ADAPTIVE = {name: entry.label for name, entry in METHODS.items() if entry.adaptive}
FIXED = {name: entry.label for name, entry in METHODS.items() if not entry.adaptive}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    labels: Mapping[str, str]
    """Each field that may be chosen, by source."""
    sources: tuple[str, ...]
    methods: tuple[str, ...]
    grid: str
    measure: str
    n: int
    seed: int
    seeds: int

    @property
    def sweep(self) -> SweepConfig:
        """The sweep of the curves."""
        return self.over(self.sources, self.methods)

    def over(self, sources: Sequence[str], methods: Sequence[str]) -> SweepConfig:
        """The sweep of other fields and solvers, all else as in the sidebar."""
        return replace(
            DEFAULT,
            sources=tuple(sources),
            methods=tuple(methods),
            grid=self.grid,
            n=self.n,
            seed=self.seed,
            seeds=self.seeds,
            metrics=QUICK if self.measure in QUICK else (*QUICK, self.measure),
        )

    @property
    def about(self) -> dict[str, object]:
        """What one needs to make a figure again, but for fields and solvers."""
        return {
            "data": self.data,
            "time grid": self.grid,
            "samples per seed": self.n,
            "seeds": f"{self.seed} to {self.seed + self.seeds - 1}",
        }


def controls() -> Settings:
    """The sidebar: which fields and solvers, and how their samples are judged."""
    with st.sidebar:
        data = data_picker.pick()
        labels = _fields(data)
        slugs = {_slug(name): name for name in labels}
        chosen = state.several(
            "fields",
            "Fields",
            {slug: labels[name] for slug, name in slugs.items()},
            [_slug(name) for name in _opening(data, labels)],
            help="Networks trained on this data set, and exact fields in closed form.",
        )
        methods = state.several(
            "solvers",
            "ODE solvers",
            METHODS.labels,
            DEFAULT.methods,
            help="Fixed-step solvers spend exactly the NFE that they are given. Adaptive ones are "
            "given tolerances, 0.1 to 0.00001, and their NFE is counted.",
        )
        grid = state.select(
            "grid",
            "Steps of fixed-step solvers",
            GRIDS.labels,
            DEFAULT.grid,
            help=GRIDS.sentences(),
        )
        boundless = unbounded(data_picker.dataset(data).distribution)
        measures = {
            name: metric.label
            for name, metric in METRICS.items()
            if not (boundless and metric.needs == "distribution")
        }
        measure = state.select(
            "measure",
            "Sample quality",
            measures,
            MEASURE,
            help="Lower is better. "
            + METRICS.sentences(measures)
            + " What is slow (exact Wasserstein-2, MMD) takes some 20 seconds more.",
        )
        n = state.count("n", "Samples per seed", SIZES, DEFAULT.n)
        left, right = st.columns(2)
        with left:
            seeds = state.integer("seeds", "Seeds", 1, 8, DEFAULT.seeds, help="For error bars.")
        with right:
            seed = state.seed("First seed", DEFAULT.seed, dice=False)
    return Settings(
        data=data,
        labels=labels,
        sources=tuple(slugs[slug] for slug in chosen),
        methods=methods,
        grid=grid,
        measure=measure,
        n=n,
        seed=seed,
        seeds=seeds,
    )


def show(settings: Settings) -> None:
    """The chosen view."""
    options = {"curves": "Cost and quality", "steps": "Adaptive steps", "all": "All data sets"}
    view = state.segmented("view", "View", options, "curves", label_visibility="collapsed")
    {"curves": _curves, "steps": _steps, "all": _all}[view](settings)


def _fields(data: str) -> dict[str, str]:
    """The label of each source of a data set: networks first, then closed forms."""
    labels = {}
    cards = [card for card in cache.cards().values() if card.data == data]
    for card in sorted(cards, key=lambda card: (card.name != f"{data}-{card.path}", card.name)):
        kind = "" if card.objective == "flow" else f", {card.method}"
        label = f"{scheduler(card.path).label}{kind}"
        shown = f"{label} ({card.name})" if label in labels.values() else label
        labels[pinned(card)] = shown
    for path, label in paths.labels().items():
        labels[exact_name(data, paths.spec(path))] = f"{label}, exact"
    return labels


def _opening(data: str, labels: Mapping[str, str]) -> list[str]:
    """OT and VP, learned where networks of both are shipped, else exact."""
    by_slug = {_slug(name): name for name in labels}
    learned = [f"{data}-{path}" for path in ("ot", "vp")]
    if all(slug in by_slug for slug in learned):
        return [by_slug[slug] for slug in learned]
    return [exact_name(data, path) for path in ("ot", "vp")]


def _slug(name: str) -> str:
    """A source in the URL, beside the data set: a checkpoint's name, or exact-PATH."""
    if name.startswith(PREFIX):
        return f"exact-{paths.name_of(name.rpartition('/')[2])}"
    return name.rpartition("@")[0]


def _curves(settings: Settings) -> None:
    if not settings.sources or not settings.methods:
        st.info("Choose one field and one solver or more in the sidebar.")
        return
    streamed("nfe-sweep", settings, settings.sweep, _drawn)


def streamed(
    key: str,
    settings: Settings,
    config: SweepConfig,
    draw: Callable[[Settings, Sequence[Curve]], None],
) -> None:
    """Starts a sweep where curves are missing, and draws what is there until all is."""
    done, running = sweeps.store().of(config), sweeps.current(key)
    ours = running is not None and running.config == config
    if len(done) < len(config.curves) and not ours:
        running, ours = sweeps.start(key, config), True
    live = _is_live(key, config)

    def board() -> None:
        curves = sweeps.store().of(config)
        _status(key, config, len(curves), running if ours else None)
        if curves:
            draw(settings, curves)
        if live != _is_live(key, config):
            st.rerun()  # the whole page once: polling ends, or begins

    st.fragment(board, run_every=POLL if live else None)()


def _is_live(key: str, config: SweepConfig) -> bool:
    """Whether this session's sweep of a config waits or works."""
    running = sweeps.current(key)
    return running is not None and running.config == config and running.live


def _status(key: str, config: SweepConfig, done: int, running: sweeps.Sweep | None) -> None:
    total = len(config.curves)
    if running is None or (done == total and not running.live):
        return
    if running.error:
        st.error(f"The sweep ended early. {running.error}", icon=":material/error:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        text = f"{done} of {total} curves"
        if running.waiting:
            text = "Waiting for the sweep before it to end …"
        elif running.live:
            text += " · a curve appears when all its seeds are done"
        elif running.cancelled:
            text += ": stopped, and kept"
        st.progress(done / total, text=text)
        if running.live:
            st.button(
                "Cancel", key=f"{key}-cancel", icon=":material/stop:", on_click=running.cancel
            )
        else:
            st.button(
                "Go on",
                key=f"{key}-go",
                icon=":material/play_arrow:",
                on_click=sweeps.start,
                args=(key, config),
            )


def _drawn(settings: Settings, curves: Sequence[Curve]) -> None:
    metric, first = METRICS[settings.measure], curves[0]
    fresh = first.fresh[settings.measure]
    spread = fresh.std(ddof=1)
    figure.show(
        cost.costs(
            [_line(settings, curve) for curve in curves],
            measure=f"{metric.label} ({metric.unit})" if metric.unit else metric.label,
            floor=float(first.floor[settings.measure].mean()) if fresh.mean() > 0 else 0.0,
            band=(float(fresh.mean() - spread), float(fresh.mean() + spread)),
            target=first.target(settings.measure),
            level=ERROR_LEVEL,
            dark=is_dark(),
        ),
        "nfe-curves",
        title="error and quality against NFE",
        alt="Squared error per dimension (left) and sample quality (right) against the counted "
        f"function evaluations, for {len(curves)} pairs of field and solver.",
        settings=settings.about
        | {"measure": settings.measure, "reference": _reference(curves)}
        | {"floor": f"{first.floor[settings.measure].mean():.6g}"}
        | {"fresh data sets": f"{fresh.mean():.6g} +- {spread:.3g}"},
        columns=partial(_table_of, settings, curves),
        filename=f"flowviz-{settings.data.partition(':')[0]}-nfe",
    )
    st.markdown(_lesson(settings, curves))
    _reached(settings, curves)
    st.caption(_method(settings, curves))


def _line(settings: Settings, curve: Curve) -> cost.CostCurve:
    """A curve as it is drawn: colour by path, dash by solver, mark by field."""
    same_path = [name for name in settings.sources if source_path(name) == curve.path]
    symbol = cost.SYMBOLS[same_path.index(curve.config.source) % len(cost.SYMBOLS)]
    exact = curve.config.source.startswith(PREFIX)
    dash = cost.DASHES[settings.methods.index(curve.config.method) % len(cost.DASHES)]
    method = METHODS[curve.config.method]
    return cost.CostCurve(
        field=settings.labels[curve.config.source],
        solver=method.label,
        colour=theme.path_colour(curve.path, dark=is_dark()),
        symbol=f"{symbol}-open" if exact else symbol,
        dash=dash,
        nfe=curve.cost,
        error=_band(curve.mse),
        quality=_band(curve.values[settings.measure]),
        exploded=curve.exploded,
        notes=[_note(curve, p) for p in range(len(curve.failures))],
    )


@st.cache_data(max_entries=256, show_spinner=False)
def source_path(name: str) -> str:
    """The spec of the path of a source."""
    return source(name).path_spec


def _band(values: NDArray) -> NDArray:
    """Lowest, mean and highest of the seeds, (3, P)."""
    return np.stack([values.min(axis=1), values.mean(axis=1), values.max(axis=1)])


def _note(curve: Curve, p: int) -> str:
    if curve.failures[p]:
        return curve.failures[p]
    lost = curve.lost[p].mean()
    return (
        f"{100 * lost:.2g} % of the samples left the plane; squared error "
        f"{curve.mse[p].mean():.3g}"
    )


def _table_of(settings: Settings, curves: Sequence[Curve]) -> dict[str, NDArray]:
    """One row a field, solver, budget and seed: every number behind the curves."""
    columns: dict[str, list[NDArray]] = {}
    for curve in curves:
        points, seeds = curve.nfe.shape
        rows = {
            "field": np.full(points * seeds, curve.config.source),
            "path": np.full(points * seeds, curve.path),
            "solver": np.full(points * seeds, curve.config.method),
            "budget": np.repeat(np.array(curve.config.budgets, dtype=float), seeds),
            "seed": np.tile(np.arange(seeds) + curve.config.seed, points),
            "nfe": curve.nfe.ravel(),
            "mse": curve.mse.ravel(),
            "rms": np.sqrt(curve.mse.ravel()),
            "lost": curve.lost.ravel(),
        }
        for name, values in curve.values.items():
            rows[name] = values.ravel()
            rows[f"{name}-floor"] = np.tile(curve.floor[name], points)
            rows[f"{name}-limit"] = np.tile(curve.limit[name], points)
        for name, values in rows.items():
            columns.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _reference(curves: Sequence[Curve]) -> str:
    nfe = sorted({curve.reference_nfe for curve in curves})
    return f"dopri5 in float64 at tolerance 1e-6, NFE {' or '.join(map(str, nfe))}"


def _lesson(settings: Settings, curves: Sequence[Curve]) -> str:
    """What to notice, from the numbers, one point a line; Markdown."""
    points = [_price(curves), _euler(curves), _crosses(curves), _clock(settings, curves)]
    return "\n".join(f"- {point}" for point in points if point)


def _price(curves: Sequence[Curve]) -> str:
    """What the evaluations of OT are worth in those of VP, at equal error."""
    worth = []
    for ot, vp in pairs(curves):
        first, second = ot.reach_error(), vp.reach_error()
        if first and second and not (first.at_first or second.at_first):
            label = METHODS[ot.config.method].label
            worth.append(
                f"{label} **{_percent(first, second)}** ({first.nfe:.1f} : {second.nfe:.1f})"
            )
    if not worth:
        return ""
    return (
        f"**At equal error** ({ERROR_LEVEL:g} per dimension) conditional OT needs this share of "
        f"VP diffusion's evaluations: {'; '.join(worth)}. The paper says {PAPER} (Fig. 7, images)."
    )


def _euler(curves: Sequence[Curve]) -> str:
    """Euler's lesson, if this run shows it: less error and yet worse samples."""
    for ot, vp in pairs(curves):
        for name in ("off-support", "histogram-tv"):
            if ot.config.method != "euler" or name not in ot.values:
                continue
            error = [c.mse.mean(axis=1) for c in (ot, vp)]
            worse = [c.values[name].mean(axis=1) for c in (ot, vp)]
            shown = np.flatnonzero((error[1] < error[0]) & (worse[1] > worse[0]))
            if len(shown):
                p = shown[0]
                return (
                    f"**Error is not quality:** with Euler at NFE {ot.cost[p]:.0f}, VP diffusion "
                    f"has the lower error ({error[1][p]:.2g} against {error[0][p]:.2g}) and yet "
                    f"the worse samples ({METRICS[name].label.lower()} {worse[1][p]:.2g} against "
                    f"{worse[0][p]:.2g})."
                )
    return ""


def _crosses(curves: Sequence[Curve]) -> str:
    """Which solvers exploded, why, and what to do."""
    wild = [curve for curve in curves if curve.exploded.any()]
    if not wild:
        return ""
    failed, lost = {}, {}
    for curve in wild:
        broke = np.array([bool(text) for text in curve.failures])
        for told, where in ((failed, broke), (lost, curve.exploded & ~broke)):
            at = np.array(curve.config.budgets)[where].tolist()
            told.setdefault(curve.config.method, set()).update(at)
    parts = [
        f"{what} by {'; '.join(_budgets(name, at) for name, at in told.items() if at)}"
        for what, told in (
            ("the solve broke off", failed),
            (f"samples left the plane, over {LOST:g} from its centre,", lost),
        )
        if any(told.values())
    ]
    text = f"**Crosses:** {', and '.join(parts)}."
    ends = [
        METHODS[name].label
        for name in dict.fromkeys(curve.config.method for curve in wild)
        if METHODS[name].evaluates_end and not METHODS[name].adaptive
    ]
    if ends:
        text += (
            f" {' and '.join(ends)} {'asks' if len(ends) == 1 else 'ask'} for the velocity at the "
            "last time, where the field of sharp data is stiff; EDM's remedy, a last step by "
            f"Euler, is the solver “{METHODS['edm'].label}”."
        )
    return text


def _budgets(method: str, budgets: Collection[float]) -> str:
    """A method and at which of its budgets something was: NFE, or tolerances."""
    entry = METHODS[method]
    told = ", ".join(f"{each:g}" for each in sorted(budgets, reverse=entry.adaptive))
    return f"{entry.label} at {'tolerance' if entry.adaptive else 'NFE'} {told}"


def _clock(settings: Settings, curves: Sequence[Curve]) -> str:
    """What another time grid did to the ratio of the paths, if both were measured."""
    if settings.grid == "uniform":
        return ""
    kept = sweeps.store()
    for ot, vp in pairs(curves):
        before = [kept.get(replace(c.config, grid="uniform")) for c in (ot, vp)]
        if METHODS[ot.config.method].adaptive or None in before:
            continue
        told = []
        for goal, reach in (
            ("the same error", Curve.reach_error),
            (goal_of(settings, ot), partial(_reach_of, settings.measure)),
        ):
            ratios = [_ratio(reach(a), reach(b)) for a, b in ((ot, vp), before)]
            if "–" not in ratios:
                told.append(f"{ratios[0]} for {goal} (even in t: {ratios[1]})")
        if not told:
            continue
        return (
            f"**The clock:** with {METHODS[ot.config.method].label} and steps "
            f"{GRIDS[settings.grid].label}, OT needs this share of VP's evaluations: "
            f"{' and '.join(told)}. What a path owes to its clock, a grid can give to the other."
        )
    open_ = [
        ot
        for ot, vp in pairs(curves)
        if not METHODS[ot.config.method].adaptive
        and not all(replace(c.config, grid="uniform") in kept for c in (ot, vp))
    ]
    if not open_:
        return ""
    return (
        f"**The clock:** steps are {GRIDS[settings.grid].label}; look at the grid even in t, too, "
        "and this line will compare the two."
    )


def _percent(first: Reach, second: Reach) -> str:
    return f"{100 * first.nfe / second.nfe:.0f}\N{NO-BREAK SPACE}%"


def _reached(settings: Settings, curves: Sequence[Curve]) -> None:
    """The NFE to arrive at an error and at a quality, and OT : VP, one row a solver."""
    goals = [
        (f"squared error ≤ {ERROR_LEVEL:g}", Curve.reach_error),
        (goal_of(settings, curves[0]), partial(_reach_of, settings.measure)),
    ]
    sources = [name for name in settings.sources if any(c.config.source == name for c in curves)]
    heads = [*(settings.labels[name] for name in sources), "OT : VP"]
    rows = []
    for method in settings.methods:
        of = {c.config.source: c for c in curves if c.config.method == method}
        cells = []
        for _, reach in goals:
            cells += [_cell(reach(of[name])) if name in of else "…" for name in sources]
            ratios = [_ratio(reach(ot), reach(vp)) for ot, vp in pairs(of.values())]
            cells.append(", ".join(ratios) or "–")
        rows.append((METHODS[method].label, cells))
    st.markdown(
        f"**NFE to arrive**, and OT : VP, of which the paper says {PAPER}, for each solver"
    )
    st.html(_two_goals("Solver", [goal for goal, _ in goals], heads, rows))


def _two_goals(
    corner: str, goals: Sequence[str], heads: Sequence[str], rows: Sequence[tuple[str, list[str]]]
) -> str:
    """A table in HTML: under each goal the same columns, of which the last stands out."""
    span = len(heads)

    def row(tag: str, first: str, cells: Sequence[str]) -> str:
        marked = [
            f"<{tag}{' class=ratio' if i % span == span - 1 else ''}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        ]
        return f"<tr><th scope=row>{escape(first)}</th>{''.join(marked)}</tr>"

    top = "".join(f"<th colspan={span} scope=colgroup>{escape(goal)}</th>" for goal in goals)
    body = "".join(row("td", name, cells) for name, cells in rows)
    return (
        f"{TABLE_STYLE}<div class=fv-goals><table><thead><tr><td></td>{top}</tr>"
        f"{row('th', corner, [*heads] * len(goals))}</thead><tbody>{body}</tbody></table></div>"
    )


def _reach_of(measure: str, curve: Curve) -> Reach | None:
    return curve.reach(measure)


def goal_of(settings: Settings, curve: Curve) -> str:
    """Where a curve has arrived, in terms of the measure."""
    label = METRICS[settings.measure].label
    if curve.fresh[settings.measure].mean() > 0:
        return f"{label} ≤ {MARGIN:g} × floor"
    return f"{label} ≤ {100 * SHARE_LEVEL:g} %"


def _cell(reach: Reach | None) -> str:
    if reach is None:
        return "not reached"
    return f"≤ {reach.nfe:.0f}" if reach.at_first else f"{reach.nfe:.1f}"


def _ratio(first: Reach | None, second: Reach | None) -> str:
    if first is None or second is None:
        return "–"
    if first.at_first or second.at_first:
        return "–"
    return _percent(first, second)


def _method(settings: Settings, curves: Sequence[Curve]) -> str:
    limits = {c.config.source: c.limit[settings.measure].mean() for c in curves}
    floor = curves[0].floor[settings.measure].mean()
    left = ", ".join(f"{settings.labels[name]} {value:.4g}" for name, value in limits.items())
    learned = [name for name in limits if not name.startswith(PREFIX)]
    networks = "; what exceeds the floor is a network's own error" if learned else ""
    return (
        f"{settings.seeds} seeds of {settings.n:,} samples; bars run from the lowest seed to the "
        f"highest. Error: against {_reference(curves)}, same field and noise. Between budgets, "
        "curves are interpolated linearly on these axes; a solver reaches the target at the "
        "NFE from which it stays below the dashed line. The floor is the best possible value, by "
        f"the exact flow from the same noise ({floor:.4g}); the band is the spread between two "
        f"samples of the data. With unlimited NFE: {left}{networks}."
    )


def _steps(settings: Settings) -> None:
    left, right = st.columns(2)
    with left:
        method = state.select("adaptive", "Adaptive solver", ADAPTIVE, "dopri5")
    with right:
        tol = float(state.select("tol", "Tolerance of a step", TOLERANCES, "0.001"))
    names = _ot_and_vp(settings)
    configs = [
        StepsConfig(source=name, method=method, tol=tol, n=settings.n, seed=settings.seed)
        for name in names
    ]
    try:
        found = cache.in_parallel([partial(_walked, config) for config in configs])
    except ValueError as error:
        st.error(f"These steps cannot be shown. {error}", icon=":material/error:")
        return
    figure.show(
        cost.steps(
            [_record(settings.labels[n], s) for n, s in zip(names, found, strict=True)],
            dark=is_dark(),
        ),
        "nfe-steps",
        title="the steps of an adaptive solver",
        alt="Trajectories over time with a tick for each step, and below them the sizes of the "
        "accepted and rejected steps.",
        settings=settings.about | {"solver": method, "tol": tol},
        columns=partial(_steps_table, names, found),
        filename=f"flowviz-{settings.data.partition(':')[0]}-steps",
    )
    told = "; ".join(
        f"**{settings.labels[n]}**: {s.nfe} evaluations, {len(s.size)} steps accepted and "
        f"{len(s.rejected)} rejected, the shortest {s.size.min():.2g}, half of all steps after "
        f"t = {np.median(s.begin):.2f}"
        for n, s in zip(names, found, strict=True)
    )
    told += ". The solver asks for short steps where the velocity turns quickly"
    if np.median(found[1].begin) > np.median(found[0].begin):
        told += ", which on VP diffusion is later: its clock does most of the work near t = 1"
    st.markdown(f"{told}.")


def _ot_and_vp(settings: Settings) -> list[str]:
    """The first chosen field on OT and the first on VP; what is missing as when opened."""
    opening = _opening(settings.data, settings.labels)
    found = []
    for path, default in zip(("ot", "vp"), opening, strict=True):
        of_path = (name for name in settings.sources if source_path(name) == path)
        found.append(next(of_path, default))
    return found


_walked: Callable[[StepsConfig], Steps] = cache.kept(nfe_quality, "compute_steps", 64)


def _record(label: str, walked: Steps) -> cost.StepRecord:
    return cost.StepRecord(
        label=label,
        colour=theme.path_colour(walked.path, dark=is_dark()),
        begin=walked.begin,
        size=walked.size,
        rejected=walked.rejected,
        times=walked.times,
        states=walked.states,
        t_max=walked.t_max,
    )


def _steps_table(names: Sequence[str], found: Sequence[Steps]) -> dict[str, NDArray]:
    columns: dict[str, list[NDArray]] = {}
    for name, walked in zip(names, found, strict=True):
        for kind, begin, size in (
            ("accepted", walked.begin, walked.size),
            ("rejected", walked.rejected[:, 0], walked.rejected[:, 1]),
        ):
            rows = {
                "field": np.full(len(begin), name),
                "path": np.full(len(begin), walked.path),
                "step": np.full(len(begin), kind),
                "t": begin,
                "dt": size,
            }
            for key, values in rows.items():
                columns.setdefault(key, []).append(values)
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def _all(settings: Settings) -> None:
    method = state.select(
        "one",
        "Solver",
        FIXED,
        "midpoint",
        help="One sweep of both paths for every data set, with what the sidebar says of grid, "
        "measure and seeds.",
    )
    config = settings.over([name for data in DATASETS for name in opening_pair(data)], (method,))
    key = "nfe-all"
    missing = len(config.curves) - len(sweeps.store().of(config))
    started = sweeps.current(key)
    if missing and (started is None or started.config != config):
        st.markdown(
            f"Measures conditional OT and VP diffusion on all {len(DATASETS)} data sets, learned "
            f"where both networks are there and exact elsewhere: {missing} curves, a second or "
            "two each."
        )
        st.button(
            "Measure all data sets",
            type="primary",
            icon=":material/play_arrow:",
            on_click=sweeps.start,
            args=(key, config),
        )
        return
    streamed(key, settings, config, draw_all)


def opening_pair(data: str) -> list[str]:
    """The sources of OT and VP with which a data set is opened: networks where both are there."""
    return _opening(data, _fields(data))


def draw_all(settings: Settings, curves: Sequence[Curve]) -> None:
    """What OT and VP need on each data set of which there are curves: figure, claim and table."""
    measure = settings.measure
    beside = [(ot, vp) for ot, vp in pairs(curves) if measure in ot.values]
    if not beside:
        st.info("None of these data sets has the measure of the sidebar yet.")
        return
    goals = [
        (f"squared error ≤ {ERROR_LEVEL:g}", Curve.reach_error),
        (goal_of(settings, beside[0][0]), partial(_reach_of, measure)),
    ]
    rows = [[(ot.data, reach(ot), reach(vp)) for ot, vp in beside] for _, reach in goals]
    figure.show(
        cost.dumbbells(
            [
                (title, [_dumbbell(*row) for row in found])
                for (title, _), found in zip(goals, rows, strict=True)
            ],
            labels=(SCHEDULERS["ot"].label, SCHEDULERS["vp"].label),
            colours=tuple(theme.path_colour(path, dark=is_dark()) for path in ("ot", "vp")),
            dark=is_dark(),
        ),
        "nfe-all",
        title="NFE to arrive on all data sets",
        alt="Function evaluations that conditional OT and VP diffusion need on each data set, for "
        "an error (left) and for a quality (right).",
        settings=settings.about
        | {"data": "all", "measure": measure}
        | {"solver": beside[0][0].config.method},
        columns=partial(_table_of, settings, [c for pair in beside for c in pair]),
        filename="flowviz-all-nfe",
    )
    st.markdown(_claim(goals, rows, METHODS[beside[0][0].config.method].label))
    heads = [SCHEDULERS[path].label for path in ("ot", "vp")]
    st.html(arrivals([goal for goal, _ in goals], [*heads, "OT : VP"], rows))


def arrivals(
    goals: Sequence[str],
    heads: Sequence[str],
    rows: Sequence[Sequence[tuple[str, Reach | None, Reach | None]]],
) -> str:
    """A table in HTML of where two paths arrive on each data set.

    Args:
        goals: what is to be reached.
        heads: the names of both paths and of the ratio of the first to the second.
        rows: of each goal a data set's name and where both arrive.
    """
    table = []
    for line in zip(*rows, strict=True):
        cells = []
        for _, first, second in line:
            cells += [_cell(first), _cell(second), _ratio(first, second)]
        table.append((DATASETS[line[0][0]].label, cells))
    return _two_goals("Data set", goals, heads, table)


def _dumbbell(data: str, first: Reach | None, second: Reach | None) -> cost.Dumbbell:
    nfe = [np.nan if reach is None else reach.nfe for reach in (first, second)]
    return cost.Dumbbell(label=DATASETS[data].label, first=nfe[0], second=nfe[1])


def _claim(
    goals: Sequence[tuple[str, Callable[[Curve], Reach | None]]],
    rows: Sequence[Sequence[tuple[str, Reach | None, Reach | None]]],
    solver: str,
) -> str:
    """The claim beside what was measured, in a sentence."""
    parts = []
    for (title, _), found in zip(goals, rows, strict=True):
        ratios = [
            100 * first.nfe / second.nfe
            for _, first, second in found
            if first and second and not (first.at_first or second.at_first)
        ]
        if ratios:
            where = f"the median of {len(ratios)} data sets" if len(ratios) > 1 else "one data set"
            parts.append(
                f"for {title}, OT needs **{np.median(ratios):.0f} %** of VP's evaluations at "
                f"{where} ({min(ratios):.0f} to {max(ratios):.0f} %)"
            )
        else:
            parts.append(f"for {title}, no data set had both paths arrive between two budgets")
    return f"With {solver}, {'; '.join(parts)}. The paper says {PAPER}."
