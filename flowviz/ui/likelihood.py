"""The Likelihood page: which field, how it is followed backward, and five ways to look at it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments.evaluate import Likelihood
from flowviz.experiments.evolution import BLUR, EXACT
from flowviz.experiments.likelihood import (
    MISS,
    MIXED,
    DensityConfig,
    DensityResult,
    GapConfig,
    LikelihoodConfig,
    PointConfig,
    PointResult,
    bits_per_dim,
)
from flowviz.fields import LearnedField
from flowviz.fields.learned_path import LearnedPathField
from flowviz.figures import curves, sheet, theme
from flowviz.figures import likelihood as figures
from flowviz.schedulers import LEARNED, LearnedReference, scheduler
from flowviz.ui import cache, data_picker, downloads, figure, paths, solver_picker, state
from flowviz.ui.field_picker import LIVE, choose, networks
from flowviz.ui.pieces import gather
from flowviz.ui.solver_picker import Solver, spent
from flowviz.ui.theme import is_dark

__all__ = ["VIEWS", "Model", "Settings", "controls", "show", "verdict"]

CELLS = (54, 90, 126, 128)
"""Multiples of 18, so that no edge of the checkerboard cuts a cell in two, and the usual 128."""
TIMES = tuple(np.linspace(0, 1, 9).tolist())
"""The moments of the evolution and of the KL divergence."""

CONVERGED = {"method": "dopri5", "tol": 1e-5}
"""The solver of the KL over time, as of the table: a coarse one would add its own error to it."""

GAP_POINTS = 1_000
TABLE_POINTS = 2_000
BESIDE = 420
"""The side in pixels of one of two panels beside each other."""

POINT = (3.3, 3.3)
"""The point that the page opens with: in the corner cell of the board."""


@dataclass(frozen=True)
class Model:
    """A field that the page can look at: a network, or the exact field of a path."""

    label: str
    path: str
    name: str
    """One of `compare.networks`, or EXACT."""
    data: str

    @property
    def exact(self) -> bool:
        """Whether this is the closed form."""
        return self.name == EXACT

    @property
    def field(self) -> str:
        """The name of the field that says its content too."""
        return self._chosen[1]

    @property
    def learned_path(self) -> bool:
        """Whether the path is learned too, so that its own p_t has no closed form before t = 1."""
        return self.path == LEARNED

    def own(self, t: float) -> str:
        """What the density is at t that stands beside the field's."""
        if self.learned_path and 0 < t < 1:
            return f"the path's own, from {MIXED:,} data points"
        return "exact, the path's own"

    @property
    def live(self) -> LearnedField | LearnedPathField | None:
        """The network itself, kept loaded."""
        return self._chosen[2]

    @property
    def _chosen(self) -> tuple[str, str, LearnedField | LearnedPathField | None]:
        if self.exact:
            return self.path, EXACT, None
        return choose(self.data, self.path, self.name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the sidebar says."""

    data: str
    slug: str
    models: dict[str, Model]
    method: str
    nfe: int
    tol: float
    cells: int
    probes: int
    seed: int

    @property
    def model(self) -> Model:
        """The field on show."""
        return self.models[self.slug]

    @property
    def backward(self) -> dict[str, Any]:
        """The entries that all configs of a solve backward share."""
        return {
            "data": self.data,
            "path": self.model.path,
            "field": self.model.field,
            "method": self.method,
            "nfe": self.nfe,
            "tol": self.tol,
        }

    def density(self, t: float) -> DensityResult:
        """The density at a time, from the cache if it was made before."""
        config = DensityConfig(
            **self.backward, t=t, cells=self.cells, probes=self.probes, seed=self.seed
        )
        return cache.density(config, self.model.live)

    @property
    def about(self) -> dict[str, object]:
        """What one needs to make a figure again."""
        divergence = f"Hutchinson, {self.probes} probes" if self.probes else "exact"
        return {
            "data": self.data,
            "path": self.model.path,
            "field": self.model.field,
            "solver": self.method,
            **spent(self.method, self.nfe, self.tol),
            "divergence": divergence,
            "cells": self.cells,
            "seed": self.seed,
        }


def controls() -> Settings:
    """The sidebar: which density, and how it is found."""
    with st.sidebar:
        data = data_picker.pick(help="Whose likelihood is asked for.")
        models = _models(data)
        slug = state.select(
            "model",
            "Field",
            {name: model.label for name, model in models.items()},
            next(iter(models)),
            help="A network trained on this data set, or the closed form of a path, whose "
            "change of variables must give the exact density: a check of the solver. A learned "
            "path has a closed form at t = 0 and 1 alone; what it is held against in between is "
            f"the mean of what it makes of {MIXED:,} data points.",
        )
        solver = solver_picker.pick(
            Solver("midpoint", 40, 1e-5),
            help="How points are followed back to their noise.",
            nfe_help="From t = 1 back to 0, in steps that shorten towards the data (EDM's grid); "
            "from an earlier t the rest of them.",
        )
        cells = state.count("cells", "Grid over the frame", CELLS, 90, text="{0} × {0}")
        probes = 0
        kind = state.segmented(
            "divergence",
            "Divergence",
            {"exact": "Exact", "hutchinson": "Hutchinson"},
            "exact",
            help="In the plane the exact divergence costs two derivatives. Hutchinson's estimate "
            "costs one a probe in any dimension, which is how images are done, and is random.",
        )
        seed = 0
        if kind == "hutchinson":
            probes = state.integer("probes", "Probes a point", 1, 16, 4)
            seed = state.seed("Seed of the probes")
    return Settings(
        data=data,
        slug=slug,
        models=models,
        **vars(solver),
        cells=cells,
        probes=probes,
        seed=seed,
    )


def show(settings: Settings) -> None:
    """The chosen view.

    Raises:
        ValueError: a solve failed; the message says where and what to do.
    """
    labels = {name: label for name, (label, _) in VIEWS.items()}
    view = state.segmented("view", "View", labels, "point", label_visibility="collapsed")
    VIEWS[view][1](settings)


def _models(data: str) -> dict[str, Model]:
    """The fields of a data set by slug: networks first, that of the OT path before others."""
    models = {}
    for kind, path_label in (paths.labels() | {LEARNED: LearnedReference.label}).items():
        path = paths.spec(kind)
        for name in networks(data, path):
            card = cache.cards().get(name)
            label = f"trained here on {path_label}"
            if card is not None:
                label = f"{card.method} on {scheduler(card.path).label}"
            if kind == LEARNED:
                label = f"{path_label}, {'trained here' if card is None else card.method}"
            if any(model.label == label for model in models.values()):
                label = f"{label} ({name})"
            slug = f"{LIVE}-{kind}" if name == LIVE else name
            models[slug] = Model(label, path if card is None else card.path, name, data)
    for kind, label in paths.labels().items():
        models[f"exact-{kind}"] = Model(f"exact field on {label}", paths.spec(kind), EXACT, data)
    return models


def _point(settings: Settings) -> None:
    left, right = st.columns([5, 3], gap="medium")
    with right:
        st.markdown("**Follow one point:** click the map, or give its coordinates.")
        first, second = st.columns(2)
        with first:
            x = state.number("x", "x₁", -8.0, 8.0, POINT[0], step=0.1, format="%.3f")
        with second:
            y = state.number("y", "x₂", -8.0, 8.0, POINT[1], step=0.1, format="%.3f")
    density = settings.density(1.0)
    point = cache.point(PointConfig(**settings.backward, x=x, y=y), settings.model.live)
    colour = theme.path_colour(settings.model.path, dark=is_dark())
    with left:
        figure.show(
            figures.log_density_map(
                density.axis,
                density.log_density,
                backward=point.backward,
                forward=point.forward,
                colour=colour,
                dark=is_dark(),
            ),
            "log-density",
            title="the log-density",
            alt=f"Log-density of {settings.model.label} over the plane and the way of the point "
            f"({x:.2f}, {y:.2f}) to its noise ({point.noise[0]:.2f}, {point.noise[1]:.2f}).",
            settings=settings.about,
            columns=partial(_grid, density),
            filename=f"flowviz-{settings.data}-log-density",
            squares=1,
            on_click=_clicked,
        )
    with right:
        _numbers(point, _error_at(density, x, y))
        figure.show(
            figures.along(
                point.times,
                point.log_density,
                point.exact,
                colour=colour,
                exact_label="log <i>p<sub>t</sub></i> there, from data points"
                if settings.model.learned_path
                else "exact log <i>p<sub>t</sub></i> there",
                dark=is_dark(),
            ),
            "along",
            title="log-density along the way",
            alt="The log-density along the point's way from its noise, beside the exact one.",
            settings=settings.about | {"x1": x, "x2": y},
            columns=lambda: {
                "t": point.times,
                "x1": point.backward[:, 0],
                "x2": point.backward[:, 1],
                "log_p": point.log_density,
                "exact_log_p": point.exact,
            },
            filename=f"flowviz-{settings.data}-along",
        )
    st.caption(_mass_sentence(settings, density))


def _numbers(point: PointResult, error: float | None) -> None:
    """What is known of the point, as a table."""
    x_0 = point.noise
    rows = {
        "log-density, exact divergence": f"**{point.log_prob:.4f} nats**",
        "the path's exact": f"{point.exact[-1]:.4f} nats",
        "its noise x₀": f"({x_0[0]:.3f}, {x_0[1]:.3f}), {np.linalg.norm(x_0):.2f} from 0",
        "log p₀ of the noise": f"{point.log_prior:.4f} nats",
        "− ∫ div v dt": f"{point.log_prob - point.log_prior:+.4f} nats",
        "back and forth misses by": f"{point.miss:.2g}",
    }
    if error is not None:
        rows["the map's probes, at the next node, err by"] = f"± {error:.3f} nats"
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    st.markdown("\n".join([lines[0], "|:--|:--|", *lines[1:]]))
    if point.miss > MISS:
        st.warning(
            f"Followed back and forth again, the point ends {point.miss:.2g} from where it began: "
            "the steps are too coarse for the field there, and the log-density is not to be "
            "trusted. Take more evaluations, or a point where data is.",
            icon=":material/warning:",
        )


def _error_at(density: DensityResult, x: float, y: float) -> float | None:
    """Hutchinson's standard error in the cell of a point of the frame."""
    if density.error is None or max(abs(x), abs(y)) >= theme.FRAME:
        return None
    column, row = (int((v + theme.FRAME) / (2 * theme.FRAME) * len(density.axis)) for v in (x, y))
    return float(density.error[row, column])


def _clicked() -> None:
    """A click on the map moves the coordinates."""
    points = st.session_state["log-density"].selection.points
    if points:
        state.keep("x", float(points[0]["x"]), POINT[0])
        state.keep("y", float(points[0]["y"]), POINT[1])


def _beside(settings: Settings) -> None:
    t = state.number("t", "Time t", 0.0, 1.0, 1.0, step=0.05, format="%.3f")
    density = settings.density(t)
    exact = theme.colour("exact", dark=is_dark())
    row = sheet.Strip(label="", colour=exact, panels=[density.density, density.exact])
    titles = [settings.model.label, settings.model.own(t)]
    figure.show(
        sheet.sheet(
            [row],
            titles,
            groups=[(f"density at t = {t:.3g}", len(titles))],
            panel=BESIDE,
            scale="sheet",
            dark=is_dark(),
        ),
        "beside",
        title=f"densities at t = {t:.2f}",
        alt=f"Density by change of variables, left, and {titles[1]}, right, at t = {t:.2f}.",
        settings=settings.about | {"t": t},
        columns=partial(_grid, density),
        filename=f"flowviz-{settings.data}-density-t{t:.2f}",
    )
    kl = f" KL(exact ‖ this) on the grid is {density.kl:.4f} nats at t = {t:.2f}."
    if settings.model.learned_path and 0 < t < 1:
        kl = ""  # between a density and a blurred one it would be that of the blur
    st.caption(_mass_sentence(settings, density) + kl + _estimated(settings.model, blur=BLUR))


def _evolution(settings: Settings) -> None:
    pieces = [partial(settings.density, t) for t in TIMES]
    label = f"Following {settings.cells**2:,} points back from each of {len(TIMES)} times"
    found = gather("evolution", pieces, label=label, token=("evolution", settings.about))
    if found is None:
        return
    rows = [
        sheet.Strip(
            label="by change<br>of variables",
            colour=theme.path_colour(settings.model.path, dark=is_dark()),
            panels=[result.density for result in found],
        ),
        sheet.Strip(
            label="from data<br>points" if settings.model.learned_path else "exact",
            colour=theme.colour("exact", dark=is_dark()),
            panels=[result.exact for result in found],
        ),
    ]
    titles = [f"<i>t</i> = {t:.3g}" for t in TIMES]
    groups = [(f"density over time: {settings.model.label}", len(TIMES))]
    figure.show(
        sheet.sheet(rows, titles, groups=groups, panel=112, scale="column", dark=is_dark()),
        "evolution",
        title="density over time",
        alt="Densities by change of variables, above, and exact, below, from noise to data.",
        settings=settings.about,
        columns=lambda: downloads.stacked(
            [{"t": np.full(r.density.size, r.t)} | _grid(r) for r in found]
        ),
        filename=f"flowviz-{settings.data}-evolution",
    )
    masses = [result.mass for result in found]
    worst = max(found, key=lambda result: result.kl)
    largest = f" is largest at t = {worst.t:.3g}: {worst.kl:.4f} nats; at t = 1 it"
    if settings.model.learned_path:
        largest = " at t = 1"  # before, it would be that of the blur
    st.caption(
        f"On the grid KL(exact ‖ this){largest} is {found[-1].kl:.4f} nats. The masses in the "
        f"frame lie between {min(masses):.3f} and {max(masses):.3f}. The columns "
        "have a scale each." + _estimated(settings.model, blur=BLUR)
    )


def _gap(settings: Settings) -> None:
    pieces = [
        partial(
            cache.gap,
            GapConfig(**settings.backward | CONVERGED, t=t, n=GAP_POINTS),
            settings.model.live,
        )
        for t in TIMES
    ]
    label = f"Following {GAP_POINTS:,} draws back from each of {len(TIMES)} times"
    found = gather("gap", pieces, label=label, token=("gap", settings.about))
    if found is None:
        return
    line = curves.Curve(
        label=settings.model.label,
        colour=theme.path_colour(settings.model.path, dark=is_dark()),
        x=np.array([result.t for result in found]),
        y=np.array([result.kl for result in found]),
    )
    errors = np.array([result.error for result in found])
    figure.show(
        figures.gaps([line], [errors], dark=is_dark()),
        "gaps",
        title="KL over time",
        alt="KL divergence of the field's density from the exact one over time.",
        settings={"data": settings.data, "field": settings.model.field}
        | CONVERGED
        | {"points": GAP_POINTS, "seed": 0},
        columns=lambda: {"t": line.x, "kl_nats": line.y, "standard_error": errors},
        filename=f"flowviz-{settings.data}-kl",
    )
    last = found[-1]
    st.caption(
        f"Monte Carlo, with dopri5 at tol 10⁻⁵ whatever the solver at the left: the mean of "
        f"log p_t − log q_t over {GAP_POINTS:,} draws of the exact p_t, "
        "the same data and noise at every time, with the standard error as bars; an estimate "
        f"can fall below 0 where the true KL is small. At t = 1: {last.kl:.4f} ± {last.error:.4f} "
        f"nats, {bits_per_dim(last.kl):.4f} bits a dimension." + _estimated(settings.model)
    )


def _estimated(model: Model, *, blur: float = 0.0) -> str:
    """Of a learned path, what stands for its exact density, blurred by a Gaussian or not."""
    if not model.learned_path:
        return ""
    blurred = f", blurred by {blur:g}" if blur else ""
    return (
        " Between t = 0 and 1 the density of a learned path has no closed form: exact is here "
        f"the mean of what the path makes of {MIXED:,} data points{blurred}."
        + (" The view of KL over time does without the blur." if blur else "")
    )


def _table(settings: Settings) -> None:
    learned = {n: m for n, m in settings.models.items() if not m.exact}
    shown = learned or {settings.slug: settings.model}
    entropy = data_picker.dataset(settings.data).distribution.entropy
    pieces = [
        partial(
            cache.likelihood,
            LikelihoodConfig(
                data=settings.data, path=model.path, field=model.field, n=TABLE_POINTS
            ),
            model.live,
        )
        for model in shown.values()
    ]
    label = f"Likelihood of {TABLE_POINTS:,} fresh data (dopri5, tol 10⁻⁵)"
    found = gather("table", pieces, label=label, token=("table", settings.data, tuple(shown)))
    if found is None:
        return
    rows = [_row(model.label, result) for model, result in zip(shown.values(), found, strict=True)]
    floor = "entropy of the data: the floor"
    if entropy is not None:
        rows.append(
            {
                "field": floor,
                "NLL, nats": f"{entropy:.4f}",
                "bits / dim": f"{bits_per_dim(entropy):.4f}",
                "KL(data ‖ model), nats": "0",
                "NFE": "",
            }
        )
    st.table(rows, border="horizontal")
    columns = {
        "field": np.array(list(shown)),
        "nll_nats": np.array([r.nll for r in found]),
        "bits_per_dim": np.array([bits_per_dim(r.nll) for r in found]),
        "kl_nats": np.array([math.nan if r.kl is None else r.kl for r in found]),
        "standard_error": np.array([r.error for r in found]),
        "nfe": np.array([r.nfe for r in found]),
    }
    downloads.csv(
        "likelihoods",
        filename=f"flowviz-{settings.data}-likelihood",
        settings={"data": settings.data, "points": TABLE_POINTS, "entropy": entropy, "seed": 0},
        columns=lambda: columns,
    )
    st.caption(verdict(dict(zip(shown.values(), found, strict=True)), entropy))


def _row(label: str, result: Likelihood) -> dict[str, str]:
    kl = "" if result.kl is None else f"{result.kl:.4f} ± {result.error:.4f}"
    return {
        "field": label,
        "NLL, nats": f"{result.nll:.4f}",
        "bits / dim": f"{bits_per_dim(result.nll):.4f}",
        "KL(data ‖ model), nats": kl,
        "NFE": f"{result.nfe}",
    }


def verdict(found: Mapping[Model, Likelihood], entropy: float | None) -> str:
    """What the table says, from its numbers."""
    best = min(found.values(), key=lambda result: result.nll)
    # The error is that of the best one's KL, which stands for that of a gap on the same data.
    near = [m.label for m, r in found.items() if r.nll <= best.nll + 2 * (best.error or 0)]
    if len(found) == 1:
        text = f"{near[0]} gives the data {best.nll:.4f} nats. "
    elif len(near) == 1:
        text = f"The likeliest is {near[0]}: {best.nll:.4f} nats. "
    else:
        text = (
            f"The likeliest, not to be told apart, are {' and '.join(near)}: {best.nll:.4f} nats. "
        )
    if best.kl is not None:
        text += f"It stands {best.kl:.4f} ± {best.error:.4f} nats above what any model can reach. "
    text += "The ± is the standard error of KL, where data's own spread cancels. "
    if entropy is not None:
        text += (
            "An NLL below the entropy is the luck of the draw, not of the model. "
            if best.nll < entropy
            else ""
        )
    return text + (
        "`python -m flowviz evaluate NAME --likelihood 2000` gives the same of a checkpoint."
    )


def _mass_sentence(settings: Settings, density: DensityResult) -> str:
    text = (
        f"The density integrates to {density.mass:.4f} over the frame (midpoint rule on "
        f"{settings.cells}² cells; the exact one to {density.exact_mass:.4f}), for "
        f"{density.nfe} evaluations a point"
    )
    if density.refined:
        text += (
            f"; {100 * density.refined:.1f} % of the points, off the data where the network has "
            "seen nothing, needed finer steps"
        )
    text += "."
    if density.error is not None:
        text += (
            f" Hutchinson's standard error has the median {np.median(density.error):.3f} nats; "
            "exp of a noisy log-density is biased upward, and so is the mass."
        )
    return text


def _grid(density: DensityResult) -> Mapping[str, NDArray]:
    """The grid as a table, one line a cell."""
    x, y = (v.ravel() for v in np.meshgrid(density.axis, density.axis))
    table = {
        "x1": x,
        "x2": y,
        "log_p": density.log_density.ravel(),
        "exact_p": density.exact.ravel(),
    }
    if density.error is not None:
        table["standard_error"] = density.error.ravel()
    return table


VIEWS: dict[str, tuple[str, Callable[[Settings], None]]] = {
    "point": ("One point", _point),
    "beside": ("Learned beside exact", _beside),
    "evolution": ("Over time", _evolution),
    "kl": ("KL over time", _gap),
    "table": ("All fields of this data", _table),
}
"""The views: name in the menu, and what draws it."""
