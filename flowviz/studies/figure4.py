"""Which path shows the checkerboard first, and with how few evaluations?

Figure 4 of Lipman et al. 2022, from the shipped networks: densities at ten times, and samples by
the midpoint method with NFE = 4, 8, 10, 20. The rows are score matching and flow matching on VP
diffusion and flow matching on conditional OT; a row for the user's own schedule may follow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from flowviz import checkpoints
from flowviz.experiments import figure4
from flowviz.experiments.fields import EXACT
from flowviz.experiments.figure4 import (
    DATA,
    METHOD,
    SAMPLES,
    HistogramConfig,
    HistogramResult,
    compute_histograms,
)
from flowviz.experiments.likelihood import DensityConfig, compute_density
from flowviz.figures import theme
from flowviz.figures.sheet import Strip, sheet
from flowviz.methods import JUMPS
from flowviz.progress import Progress
from flowviz.schedulers import Shaped, scheduler
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import joined
from flowviz.studies._tables import cells as cells_of

NFES = (4, 8, 10, 20)
FEW_NFES = (1, 2)
"""Further evaluations, in front of NFES, where a flow map has a row."""
TIMES = tuple(np.linspace(0, 1, 10).tolist())
"""Times of the densities, as shares of the path's t_max."""

MIN_PATTERN = 0.8
"""A learned row is ranked if it shows this share of the strongest pattern."""

SAME_TIME = 0.02
"""Two rows show the pattern at the same time if their times differ by less."""


@dataclass(frozen=True)
class Row:
    """One row of the figure: a path and the objective of its network.

    `checkpoint` is the name of the row's network, or EXACT; `jumps` states whether it is a flow
    map, which is sampled by jumps.
    """

    label: str
    path: str
    checkpoint: str
    jumps: bool = False


ROWS: dict[str, Row] = {
    "score": Row("score matching on VP", "vp", f"{DATA}-vp-score"),
    "noise": Row("noise matching on VP", "vp", f"{DATA}-vp-noise"),
    "vp": Row("flow matching on VP", "vp", f"{DATA}-vp"),
    "ot": Row("flow matching on OT", "ot", f"{DATA}-ot"),
}
"""The rows from top to bottom; the paper's Fig. 4 does not have the one of noise matching."""

MAP = Row("flow map on OT", "ot", f"{DATA}-ot-distillation", jumps=True)
"""The row of a flow map, a method of 2025."""


@dataclass(frozen=True, kw_only=True)
class Figure4Config(Config):
    """The rows and the resolution of the panels."""

    densities: str = setting(
        "exact",
        "Densities over time",
        choices={"exact": "Change of variables", "histograms": "Histograms"},
        help="The density of the learned flow by integrating its divergence (midpoint, NFE 40), "
        f"or counts of {SAMPLES:,} samples. The panels with few evaluations are always counts.",
    )
    noise: bool = setting(
        False,
        "Also noise matching",
        help="A row for the objective of DDPM, which the paper shows in its Fig. 9.",
    )
    maps: bool = setting(
        False,
        "Also a flow map",
        help="A row for a flow map, which jumps, with columns of 1 and 2 evaluations. Its "
        "row has counts of samples, since jumps have no change of variables.",
    )
    cells: int = setting(
        54,
        "Cells of a panel",
        bounds=(2, 512),
        work=2,
        offered=(54, 90, 144),
        unit="cells per side",
        help="54 is quick, 144 is for print. Multiples of 18, so that no edge of the board "
        "divides a cell.",
    )
    samples: int = setting(
        SAMPLES, "Samples", bounds=(10, 1_000_000), advanced=True, help="Samples of a panel."
    )
    seed: int = declare.seed()
    own: str = declare.own(
        "A further row for your own schedule: by the network that you trained on it (page "
        "*Train*, on the checkerboard), else by its exact field."
    )
    own_field: str = declare.names(
        "Field of your own schedule",
        "The name of a checkpoint that was trained on this schedule, or exact.",
        default=EXACT,
    )
    networks: tuple[str, ...] = declare.names(
        "Networks", "One for each row but your own, or exact; by default the shipped ones."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.own and not isinstance(scheduler(self.own), Shaped):
            raise ValueError(
                f"own must be a shaped schedule such as shaped:a1=0.2; got {self.own}."
            )
        if self.own_field != EXACT and not self.own:
            raise ValueError(
                f"own_field needs own, such as shaped:a1=0.2; got {self.own_field!r} alone."
            )

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        known = checkpoints.names()
        names = (row.checkpoint if row.checkpoint in known else EXACT for row in self._shipped)
        return replace(self, networks=self.networks or tuple(names))

    def work(self, **sizes: float) -> float:
        """See `Config.work`; the time of histograms does not depend on the number of cells."""
        if self.densities == "histograms":
            sizes = {"cells": Figure4Config.cells} | sizes
        return super().work(**sizes)

    @property
    def _shipped(self) -> list[Row]:
        rows = [row for name, row in ROWS.items() if self.noise or name != "noise"]
        return [*rows, MAP] if self.maps else rows

    @property
    def nfes(self) -> tuple[int, ...]:
        """The evaluations of the columns with few."""
        return FEW_NFES + NFES if self.maps else NFES

    @property
    def rows(self) -> list[Row]:
        """The rows from top to bottom."""
        rows = self._shipped
        if self.own:
            kind = "exact" if self.own_field == EXACT else "learned"
            rows.append(Row(f"{kind} field on your own schedule", self.own, self.own_field))
        return rows

    def few_evaluations(self, row: Row, field: str) -> list[HistogramConfig | None]:
        """The panels with few evaluations of a row: one for each of `nfes`.

        None where the method cannot spend them: the midpoint method needs two in a step.
        """
        counts = self._counts(row, field)
        per_step = METHODS[counts["method"]].evaluations
        return [
            None if nfe % per_step else HistogramConfig(**counts, nfe=nfe) for nfe in self.nfes
        ]

    def over_time(self, row: Row, field: str) -> list[DensityConfig] | list[HistogramConfig]:
        """The densities of a row: one config for each of TIMES, or one of histograms at all."""
        if row.jumps:  # each jump leads to the next of TIMES
            frames = len(TIMES)
            return [HistogramConfig(**self._counts(row, field), frames=frames, nfe=frames - 1)]
        if self.densities == "exact":
            shared = {"data": DATA, "path": row.path, "field": field, "cells": self.cells}
            return [DensityConfig(**shared, t=t) for t in TIMES]
        return [HistogramConfig(**self._counts(row, field), frames=len(TIMES))]

    def _counts(self, row: Row, field: str) -> dict[str, Any]:
        return {
            "path": row.path,
            "field": field,
            "method": JUMPS if row.jumps else METHOD,
            "cells": self.cells,
            "n": self.samples,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure4Result:
    """The complete rows, R of them.

    Attributes:
        fields: the name of each row's field, EXACT where there is no network.
        over_time: (R, T, H, H) densities per unit area, rows along y, columns along x.
        few: (R, K, H, H) densities of the samples with few evaluations; NaN for an empty panel.
        nfe: (R, K), their counted evaluations; 0 for an empty panel.
        on_support: (R, K), share of these samples on the board; NaN for an empty panel.
    """

    fields: tuple[str, ...]
    over_time: NDArray[np.float32]
    few: NDArray[np.float32]
    nfe: NDArray[np.int64]
    on_support: NDArray[np.float64]

    @property
    def half(self) -> NDArray[np.float64]:
        """When half of the pattern is there, (R,)."""
        times = np.array(TIMES)
        return np.array([figure4.half_way(times, figure4.pattern(row)) for row in self.over_time])


def compute(config: Figure4Config, live: Live, progress: Progress) -> Iterator[Figure4Result]:
    """Makes one row after the other; yields after each.

    Raises:
        ValueError: a solve failed (SolveError).
    """
    names, over_time, samples = [], [], []
    for k, row in enumerate(config.rows):
        name = row.checkpoint if row.path == config.own else config.networks[k]
        field = live.get(name)
        budgets, frames = config.few_evaluations(row, name), config.over_time(row, name)
        pieces, results = [*budgets, *frames], []
        for done, each in enumerate(pieces):
            progress.report((k + done / len(pieces)) / len(config.rows), row.label)
            kind: Any = compute_density if isinstance(each, DensityConfig) else compute_histograms
            results.append(each and progress.cached(kind, each, field=field))
        names.append(name)
        samples.append(results[: len(budgets)])
        densities = [each.density for each in results[len(budgets) :]]
        over_time.append(np.concatenate([np.reshape(d, (-1, *d.shape[-2:])) for d in densities]))
        yield Figure4Result(
            fields=tuple(names),
            over_time=np.stack(over_time),
            few=np.stack(
                [[_density(each, config.cells) for each in panels] for panels in samples]
            ),
            nfe=np.array([[each.nfe if each else 0 for each in panels] for panels in samples]),
            on_support=np.array(
                [[each.on_support if each else np.nan for each in panels] for panels in samples]
            ),
        )


def _density(result: HistogramResult | None, cells: int) -> NDArray[np.float32]:
    return np.full((cells, cells), np.nan, np.float32) if result is None else result.density[0]


def draw(config: Figure4Config, result: Figure4Result) -> Figures:
    """The sheet of panels."""
    rows = config.rows[: len(result.fields)]
    nfes = joined([str(nfe) for nfe in config.nfes])
    yield NamedFigure(
        name="sheet",
        title="densities over time and samples with few evaluations",
        alt=f"Rows: {'; '.join(row.label for row in rows)}. Columns: densities at ten times "
        f"from noise to data, then samples with {nfes} evaluations.",
        figure=picture(config, result),
    )


def picture(config: Figure4Config, result: Figure4Result) -> go.Figure:
    """The sheet as a Plotly figure with a fixed width, for page and print."""
    kind = (
        f"{config.samples:,} samples"
        if config.densities == "histograms"
        else "change of variables"
    )
    strips = [
        Strip(
            label=_short(config, row),
            colour=theme.path_colour(row.path),
            panels=[*over_time, *(None if np.isnan(each).all() else each for each in few)],
        )
        for row, over_time, few in zip(config.rows, result.over_time, result.few, strict=False)
    ]
    few_label = f"samples, {METHOD}{' or jumps' if config.maps else ''}"
    if config.maps and config.densities == "exact":
        kind += f" (flow map: counts of {config.samples:,} samples)"
    groups = [(f"density over time, {kind}", len(TIMES)), (few_label, len(config.nfes))]
    columns = [f"<i>t</i> = {t:.2f}" for t in TIMES] + [f"NFE = {nfe}" for nfe in config.nfes]
    return sheet(strips, columns, groups=groups)


def _short(config: Figure4Config, row: Row) -> str:
    """A row's label in three lines."""
    if row.path == config.own:
        kind = "exact field" if row.checkpoint == EXACT else "learned"
        return f"your own<br>schedule,<br>{kind}"
    return row.label.replace(" ", "<br>", 1).replace(" on ", "<br>on ")


def table(config: Figure4Config, result: Figure4Result) -> Tables:
    """The densities: one row per cell."""
    cells = result.over_time.shape[-1]
    axis = (np.arange(cells) + 0.5) * (2 * theme.FRAME / cells) - theme.FRAME
    return [
        {"row": row.label, "panel": name, **cells_of(axis), "density": density.ravel()}
        for row, over_time, few in zip(config.rows, result.over_time, result.few, strict=False)
        for name, density in [
            *((f"t={t:.2f}", each) for t, each in zip(TIMES, over_time, strict=True)),
            *((f"nfe={nfe}", each) for nfe, each in zip(config.nfes, few, strict=True)),
        ]
    ]


def _ranked(config: Figure4Config, result: Figure4Result) -> list[int]:
    """The rows that can be compared: learned fields that learned most of the pattern.

    Exact fields are not ranked with learned ones, and half of a faint pattern is there early. A
    flow map has only counts over time.
    """
    ends = np.array([figure4.pattern(row)[-1] for row in result.over_time])
    rows = [k for k in range(len(ends)) if not config.rows[k].jumps]
    among = [k for k in rows if result.fields[k] != EXACT] or rows
    return [k for k in among if ends[k] >= MIN_PATTERN * ends[among].max()]


def say(config: Figure4Config, result: Figure4Result) -> Findings:
    """Which row shows the pattern first."""
    rows, half, ranked = config.rows, result.half, _ranked(config, result)
    earliest = half[ranked].min()
    first = [k for k in ranked if half[k] - earliest < SAME_TIME]
    labels = joined([rows[k].label for k in first])
    if len(ranked) == 1:
        text = f"{labels} shows half of the pattern by t = {earliest:.2f}"
    elif len(first) == len(ranked):
        text = f"all ranked rows show half of the pattern at about t = {earliest:.2f}"
    else:
        verb = "shows" if len(first) == 1 else "show"
        text = f"{labels} {verb} the pattern first, half of it by t = {earliest:.2f}"
    verdict = ""
    if len(ranked) > 1 and "ot" in [rows[k].path for k in ranked]:
        ahead = {rows[k].path for k in first} == {"ot"}
        tied = "ot" in {rows[k].path for k in first}
        verdict = "supported" if ahead else "undecided" if tied else "not supported"
    yield Finding(
        lead="Pattern",
        text=f"{text} (total variation from a Gaussian of the same mean and covariance).",
        numbers={rows[k].label: float(half[k]) for k in range(len(half))},
        verdict=verdict,
    )
    left_out = [
        f"{rows[k].label} ({_why_left_out(rows[k], field)})"
        for k, field in enumerate(result.fields)
        if k not in ranked
    ]
    if left_out:
        yield Finding(lead="Not ranked", text=f"{joined(left_out)}.")
    missing = [
        row.label
        for row, field in zip(rows, result.fields, strict=False)
        if field == EXACT and row.checkpoint != EXACT
    ]
    if missing:
        yield Finding(
            lead="No network",
            text=f"there is none for {joined(missing)}; the exact field is shown.",
        )
    yield from _few_steps(config, result)
    yield Finding.note("Each panel has its own colour scale.")


def _few_steps(config: Figure4Config, result: Figure4Result) -> Findings:
    """The samples of a flow map on the board, against the best other row at equal NFE."""
    for row, field, map_shares in zip(config.rows, result.fields, result.on_support, strict=False):
        if not row.jumps or field == EXACT:
            continue
        other_shares = [
            shares
            for each, shares in zip(config.rows, result.on_support, strict=False)
            if not each.jumps
        ]
        numbers = {
            f"map_{nfe}": float(share) for nfe, share in zip(config.nfes, map_shares, strict=True)
        }
        best = max(float(shares[1]) for shares in other_shares)
        yield Finding(
            lead="Few evaluations",
            text=f"the {row.label} has {map_shares[0]:.0%} of its samples on the board with 1 "
            "evaluation "
            f"and {map_shares[1]:.0%} with 2; the best other row has {best:.0%} with 2.",
            numbers=numbers | {"others_2": best},
        )


def _why_left_out(row: Row, field: str) -> str:
    if row.jumps:
        return "its row has counts of samples after jumps, not a density"
    return "exact field" if field == EXACT else "it learned less"


def summarise(config: Figure4Config, result: Figure4Result) -> Summary:
    """When half of the pattern is there, and the samples on the board with few evaluations."""
    return Summary(
        title="Time of half the pattern, and share of the samples on the board "
        f"({METHODS[METHOD].label}{', or jumps of the flow map' if config.maps else ''})",
        heads=["Row", "t of half", *(f"NFE = {nfe}" for nfe in config.nfes)],
        rows=[
            [row.label, f"{half:.2f}", *map(_percent, few)]
            for row, half, few in zip(config.rows, result.half, result.on_support, strict=False)
        ],
    )


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


STUDY = Study(
    __name__,
    "The paper's Figure 4: densities over time and few evaluations",
    Figure4Config,
    (compute, draw, table, say),
    summary=summarise,
    page="figure4",
    seconds=20.0,
    smallest={"densities": "histograms", "cells": 18, "samples": 200},
)
