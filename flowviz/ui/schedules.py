"""The parts of the page "Schedules": the visitor's own shape, the curves of all, and the words."""

from collections.abc import Sequence

import streamlit as st
import torch

from flowviz.experiments.schedules import MIXED, Course, SchedulesConfig, compute_schedules
from flowviz.figures import schedules as figures
from flowviz.figures import theme
from flowviz.figures.schedules import Schedule
from flowviz.schedulers import SCHEDULERS, Shaped, spec_of
from flowviz.ui import downloads, figure, paths, state
from flowviz.ui.shaper import Values, shaper
from flowviz.ui.theme import is_dark

__all__ = ["show"]

SHOWN = ("ot", "vp", "trig", "shaped")
"""The paths that are drawn at first."""

PRESETS = {"ease": "S-curve", "ot": "OT", "vp": "VP", "trig": "trigonometric"}
"""Shapes to start from; "ease" is the one that everybody begins with."""

REFUSED = "schedules:refused"
"""Where the session keeps why the last shape was refused."""


def show() -> None:
    """The page: the shape beside the curves of all paths, then what they say."""
    own = paths.shape()
    right = st.container()
    if state.is_drawn(paths.SLUG):
        left, right = st.columns([5, 12], gap="medium")
        with left:
            st.markdown("**Your own schedule**")
            _plot(own)
            _use(own)
    with right:
        first, second = st.columns([3, 2], vertical_alignment="bottom")
        with first:
            chosen = state.several("paths", "Paths", paths.labels(), SHOWN)
        with second:
            against = state.select(
                "axis",
                "Horizontal axis",
                {"t": "time t", "log-snr": "log-SNR, the clock that all share"},
                "t",
                help="Against log-SNR one sees what is left of a path when its clock is taken "
                "away: VP and the trigonometric path become one.",
            )
        if not chosen:
            st.info("Choose one path or more.")
            return
        config = SchedulesConfig(paths=tuple(paths.spec(name) for name in chosen))
        courses = compute_schedules(config).courses
        _curves(courses, against)
    st.markdown(_lesson(courses))
    _table(courses)


def _plot(own: Shaped) -> None:
    """The plot to drag in, and why a shape was refused."""
    shaper(own, _presets(), key="shaper", on_change=_moved)
    refused = st.session_state.pop(REFUSED, "")
    if refused:
        st.error(f"This shape cannot be used. {refused}", icon=":material/error:")


def _moved(values: Values) -> None:
    alpha, sigma = values
    names = [f"{letter}{i}" for letter in "as" for i in range(1, 5)]
    text = ",".join(f"{n}={v!r}" for n, v in zip(names, (*alpha, *sigma), strict=True))
    try:
        paths.shape_into(text)
    except ValueError as error:
        st.session_state[REFUSED] = str(error)


@st.cache_data(show_spinner=False)
def _presets() -> dict[str, Values]:
    """What the buttons under the plot start from, by label."""
    found = {PRESETS["ease"]: Shaped().values}
    knots = torch.tensor(Shaped.KNOTS, dtype=torch.float64)
    for name in ("ot", "vp", "trig"):
        c = SCHEDULERS[name]()(knots)
        found[PRESETS[name]] = (_spaced(c.alpha.tolist(), 0.0), _spaced(c.sigma.tolist(), 1.0))
    return found


def _spaced(values: list[float], first: float) -> tuple[float, ...]:
    """Values rounded to the least step, and moved apart where they are closer than that."""
    step, last = Shaped.LEAST_STEP, 1 - first
    sign = 1 if last > first else -1
    placed = []
    for k, value in enumerate(values):
        before = placed[-1] if placed else first
        room = sign * (last - before) - (len(values) - k) * step
        rise = min(max(sign * (value - before), step), room)
        placed.append(round(before + sign * rise, 2))
    return tuple(placed)


def _use(own: Shaped) -> None:
    """Where to go with the schedule."""
    st.caption(
        "Every menu of paths in the app offers it as *your own schedule*, with exact fields at "
        "once, and pages that compare given paths have a switch for it; the link carries it."
    )
    with st.container(horizontal=True, gap="small"):
        for label, icon, page, link in (
            (
                "See it beside OT",
                ":material/compare:",
                "compare",
                {"field": "exact", **paths.link(left="ot", right=spec_of(own))},
            ),
            (
                "Train on it",
                ":material/model_training:",
                "train",
                paths.link(left="ot", right=spec_of(own)),
            ),
        ):
            if st.button(label, icon=icon, key=f"schedules-{page}"):
                st.switch_page(f"pages/{page}.py", query_params=link)


def _schedule(course: Course) -> Schedule:
    """A course as it is drawn."""
    return Schedule(
        label=course.label,
        colour=theme.path_colour(course.path, dark=is_dark()),
        t=course.t,
        alpha=course.alpha,
        sigma=course.sigma,
        d_alpha=course.d_alpha,
        d_sigma=course.d_sigma,
        log_snr=course.log_snr,
        wide=paths.name_of(course.path) == paths.OWN,
    )


def _curves(courses: Sequence[Course], against: str) -> None:
    lines = [_schedule(course) for course in courses]
    figure.show(
        figures.schedules(lines, against=against, dark=is_dark()),
        "schedules",
        title="schedules",
        alt="Signal, noise, log signal-to-noise ratio and both rates over time, and noise against "
        f"signal, for {', '.join(line.label for line in lines)}.",
        settings={"paths": " ".join(course.path for course in courses)},
        columns=lambda: downloads.stacked(
            [
                {"path": each.path, "t": each.t, "alpha": each.alpha, "sigma": each.sigma}
                | {"d_alpha": each.d_alpha, "d_sigma": each.d_sigma, "log_snr": each.log_snr}
                for each in courses
            ]
        ),
        filename="flowviz-schedules",
    )


def _lesson(facts: Sequence[Course]) -> str:
    """One caption that says, from the numbers, what to notice; Markdown."""
    early, late = min(facts, key=lambda f: f.even), max(facts, key=lambda f: f.even)
    text = f"Signal and noise are equal (SNR = 1) at t = {early.even:.2f} on {early.label}"
    if late.even - early.even >= 0.005:
        text += f", and only at t = {late.even:.2f} on {late.label}"
    long, short = max(facts, key=lambda f: f.share), min(facts, key=lambda f: f.share)
    text += (
        f". **They are within a factor of {MIXED:g} of each other, neither lost in the other, "
        f"for {long.share:.0%} of the time on {long.label}**"
    )
    if long.share - short.share >= 0.005:
        text += f" and for {short.share:.0%} on {short.label}"
    text += ", so equal time steps are partly wasted where the noise hardly changes. "
    beyond = [f.label for f in facts if f.circle > 2]
    if beyond:
        text += f"{' and '.join(beyond)} begins with noise beyond the frame of the figure. "
    round_ones = [f.label for f in facts if f.circle < 1e-6]
    if len(round_ones) > 1:
        text += (
            f"{' and '.join(round_ones)} keep α² + σ² = 1 and run along the same quarter circle: "
            "they are one path with two clocks. "
        )
    return text


def _table(facts: Sequence[Course]) -> None:
    heads = "| Path | α = σ at t | within a factor of ten | largest rate | α² + σ² |"
    rows = [
        f"| {f.label} | {f.even:.3f} | t = {f.window[0]:.2f} to {f.window[1]:.2f}, "
        f"{f.share:.0%} of the time | {f.fastest:.3g} | "
        f"{'1 throughout' if f.circle < 1e-6 else f'up to {f.circle:.3g} from 1'} |"
        for f in facts
    ]
    st.markdown("\n".join([heads, "|:--|--:|--:|--:|--:|", *rows]))
