"""The Figure 4 page: its controls, the sheet, and what it shows in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz.experiments import figure4
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.figure4 import HistogramResult, Row, SheetConfig
from flowviz.figures import theme
from flowviz.figures.sheet import Strip, sheet
from flowviz.ui import cache, figure, paths, state
from flowviz.ui.field_picker import choose, networks
from flowviz.ui.pieces import gather
from flowviz.ui.sheet_pdf import WIDTH_MM, sheet_pdf
from flowviz.ui.theme import is_dark

__all__ = ["Settings", "Sheet", "controls", "drawn", "lesson", "made"]

CELLS = {"54": "54 × 54, quick", "90": "90 × 90", "144": "144 × 144, for print"}
"""Multiples of 18, so that no edge of the board cuts a cell in two."""

ENOUGH = 0.8
"""Of the best pattern, for a learned row to be ranked."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the controls say."""

    noise: bool
    densities: str
    """"exact" or "histograms"."""
    cells: int
    seed: int
    own: str = ""
    """Spec of the visitor's schedule, if it has a row."""
    own_field: str = EXACT

    @property
    def sheet(self) -> SheetConfig:
        """The same for `flowviz experiment figure4`."""
        return SheetConfig(
            densities=self.densities,
            noise=self.noise,
            cells=self.cells,
            seed=self.seed,
            own=self.own,
            own_field=self.own_field,
        )

    @property
    def rows(self) -> list[Row]:
        """The rows from top to bottom."""
        return self.sheet.rows

    @property
    def exact(self) -> bool:
        """Whether densities are made by change of variables."""
        return self.densities == "exact"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All panels of the figure.

    Attributes:
        fields: name of each row's field.
        over_time: (R, T, H, H) densities.
        few: of each row and each NFE.
    """

    fields: list[str]
    over_time: NDArray
    few: list[list[HistogramResult]]


def controls() -> Settings:
    """The controls in the sidebar."""
    with st.sidebar:
        densities = state.segmented(
            "densities",
            "Densities over time",
            {"exact": "Change of variables", "histograms": "Histograms"},
            "exact",
            help="The density of the learned flow itself, by integrating its divergence "
            f"(midpoint, NFE 40), or counts of {figure4.SAMPLES:,} samples. The panels with few "
            "evaluations are always counts: they show what a sampler with few steps makes.",
        )
        noise = state.toggle(
            "noise",
            "Also noise matching",
            False,
            help="A row for the objective of DDPM, which the paper shows in its Fig. 9.",
        )
        cells = int(state.select("cells", "Cells of a panel", CELLS, "54"))
        seed = state.seed(help="Of all samples.")
        own = paths.also_own(
            help="A further row: the learned field of your own schedule if you have trained a "
            "network on it (page *Train*, on the checkerboard), else its exact field, and the row "
            "says which."
        )
    field = choose(figure4.DATA, own, _network(own))[1] if own else EXACT
    return Settings(
        noise=noise, densities=densities, cells=cells, seed=seed, own=own, own_field=field
    )


def _network(path: str) -> str:
    """The best network that there is for the board on a path; "" if there is none."""
    return next(iter(networks(figure4.DATA, path)), "")


def made(settings: Settings) -> Sheet | None:
    """The panels, with progress while they are being made; None if the visitor stopped it.

    Raises:
        ValueError: a solve failed; the message says where and what to do.
    """
    chosen = [
        choose(
            figure4.DATA,
            row.path,
            _network(row.path) if row.path == settings.own else row.checkpoint,
        )
        for row in settings.rows
    ]
    fields = [field for _, field, _ in chosen]
    untrained = [
        row.label
        for row, field in zip(settings.rows, fields, strict=True)
        if field == EXACT and row.checkpoint != EXACT  # the own row's label says so itself
    ]
    if untrained:
        st.info(
            f"No network is here for {' and '.join(untrained)}; the exact field stands in.",
            icon=":material/info:",
        )
    pieces: list[Callable[[], object]] = []
    for row, (_, name, network) in zip(settings.rows, chosen, strict=True):
        pieces += [
            partial(cache.histograms, each, network) for each in settings.sheet.few(row, name)
        ]
        draw = cache.density if settings.exact else cache.histograms
        pieces += [partial(draw, each, network) for each in settings.sheet.over_time(row, name)]
    found = gather("figure4", pieces, label="Painting the sheet", token=settings)
    if found is None:
        return None
    each, few = len(found) // len(fields), len(figure4.NFES)
    rows = [found[i : i + each] for i in range(0, len(found), each)]
    over_time = [
        [p.density for p in row[few:]] if settings.exact else row[few].density for row in rows
    ]
    return Sheet(fields=fields, over_time=np.array(over_time), few=[row[:few] for row in rows])


def drawn(settings: Settings, panels: Sheet) -> None:
    """The sheet with its downloads, PDF among them."""
    strips = [
        Strip(
            label=_short(row),
            colour=theme.path_colour(row.path, dark=is_dark()),
            panels=[*densities, *(result.density[0] for result in few)],
        )
        for row, densities, few in zip(settings.rows, panels.over_time, panels.few, strict=True)
    ]
    times = [f"<i>t</i> = {t:.2f}" for t in figure4.TIMES]
    kind = "by change of variables" if settings.exact else f"{figure4.SAMPLES:,} samples"
    groups = [
        (f"density over time, {kind}", len(times)),
        ("samples, midpoint", len(figure4.NFES)),
    ]
    columns = [*times, *(f"NFE = {nfe}" for nfe in figure4.NFES)]
    picture = sheet(strips, columns, groups=groups, dark=is_dark())
    about = {
        "data": figure4.DATA,
        "densities": settings.densities,
        "cells": settings.cells,
        "seed": settings.seed,
        "samples": figure4.SAMPLES,
    } | {f"field of {r.label}": f for r, f in zip(settings.rows, panels.fields, strict=True)}
    figure.show(
        picture,
        "figure4",
        title="the sheet",
        alt="Rows: " + "; ".join(row.label for row in settings.rows) + ". Columns: densities at "
        "ten times from noise to data, then samples with 4, 8, 10 and 20 evaluations.",
        settings=about,
        columns=partial(_table, settings, panels),
        filename="flowviz-figure4",
    )
    st.download_button(
        f"PDF for print, {WIDTH_MM:g} mm wide",
        lambda: sheet_pdf(
            sheet(strips, columns, groups=groups), title="Densities over time and few evaluations"
        ),
        "flowviz-figure4.pdf",
        "application/pdf",
        key="figure4-pdf",
        icon=":material/picture_as_pdf:",
        on_click="ignore",
        help="Text as text, densities as pictures of one pixel a cell; in light colours.",
    )


def lesson(settings: Settings, panels: Sheet) -> str:
    """What the sheet shows, from its numbers; Markdown.

    Learned fields are ranked among each other, as far as they learned: the exact field is ahead of
    what it stands for, and half of a faint pattern is there early.
    """
    times = np.array(figure4.TIMES)
    shown = [figure4.pattern(row) for row in panels.over_time]
    halves = [figure4.half_way(times, shares) for shares in shown]
    ends = [shares[-1] for shares in shown]
    learned = [k for k, field in enumerate(panels.fields) if field != EXACT]
    ranked = learned or list(range(len(ends)))
    ranked = [k for k in ranked if ends[k] >= ENOUGH * max(ends[j] for j in ranked)]
    half = min(halves[k] for k in ranked)
    first = [settings.rows[k].label for k in ranked if halves[k] - half < 0.02]
    if len(ranked) == 1:
        head = f"{_sentence(first[0])} shows the pattern"
    elif len(first) == len(ranked):
        head = "The rows that are ranked show the pattern at about the same time"
    else:
        verb = "shows" if len(first) == 1 else "show"
        head = f"{_sentence(' and '.join(first))} {verb} the pattern first"
    text = f"**{head}**, half of it by t = {half:.2f}"
    text += " (total variation from a Gaussian blur of the same mean and covariance): "
    told = []
    for k, row in enumerate(settings.rows):
        note = ""
        if k not in ranked:
            note = " (not ranked: it learned less)" if k in learned else " (not ranked: exact)"
        told.append(f"{row.label} {halves[k]:.2f}{note}")
    text += ", ".join(told)
    text += f". **Samples on the board** with NFE = {', '.join(map(str, figure4.NFES))}: "
    return (
        text
        + "; ".join(
            f"{row.label} {', '.join(f'{100 * result.on_support:.0f}' for result in few)}"
            "\N{NO-BREAK SPACE}%"
            for row, few in zip(settings.rows, panels.few, strict=True)
        )
        + ". Each panel has a scale of its own."
    )


def _short(row: Row) -> str:
    """A row's label in three lines."""
    if paths.name_of(row.path) == paths.OWN:
        kind = "exact field" if row.checkpoint == EXACT else "learned"
        return f"your own<br>schedule,<br>{kind}"
    return row.label.replace(" ", "<br>", 1).replace(" on ", "<br>on ")


def _sentence(label: str) -> str:
    return label[:1].upper() + label[1:]


def _table(settings: Settings, panels: Sheet) -> Mapping[str, NDArray]:
    """The densities, one line a cell."""
    cells = settings.cells
    axis = (np.arange(cells) + 0.5) * (2 * theme.FRAME / cells) - theme.FRAME
    x, y = (v.ravel() for v in np.meshgrid(axis, axis))
    table: dict[str, list[NDArray]] = {
        name: [] for name in ("row", "panel", "x1", "x2", "density")
    }
    for row, densities, few in zip(settings.rows, panels.over_time, panels.few, strict=True):
        named = {f"t={t:.2f}": d for t, d in zip(figure4.TIMES, densities, strict=True)}
        named |= {f"nfe={r.nfe}": r.density[0] for r in few}
        for name, density in named.items():
            values = (np.full(x.size, row.label), np.full(x.size, name), x, y, density.ravel())
            for column, value in zip(table.values(), values, strict=True):
                column.append(value)
    return {name: np.concatenate(values) for name, values in table.items()}
