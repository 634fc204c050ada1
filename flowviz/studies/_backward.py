"""Settings and texts of the studies of the density of a flow."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flowviz.bounds import MAX_NFE
from flowviz.experiments.evolution import BLUR
from flowviz.experiments.fields import EXACT, FieldRef
from flowviz.experiments.likelihood import MIXED, DensityConfig, DensityResult
from flowviz.methods import density_methods
from flowviz.schedulers import LEARNED, scheduler
from flowviz.settings import Config, setting
from flowviz.studies import Finding, Findings
from flowviz.studies import _settings as declare
from flowviz.studies._tables import cells

TIMES = tuple(np.linspace(0, 1, 9).tolist())
"""Times of the studies over time."""

MAX_MASS_ERROR = 0.01
"""Estimated error of an integral above which the page says how to lower it."""

CELLS = (54, 90, 126, 128)
"""Multiples of 18, so that no edge of the checkerboard cuts a cell, and the usual 128."""


@dataclass(frozen=True, kw_only=True)
class BackwardConfig(Config):
    """A field whose flow is followed backward, from data to noise."""

    data: str = declare.data(help="Data set of the density.")
    path: str = declare.path(help="Path of the exact field; a checkpoint has its own.")
    field: str = declare.names(
        "Field", "A checkpoint, or exact for the closed form of the path.", default=EXACT
    )
    method: str = declare.method(
        "midpoint", "Solver from the points back to noise.", choices=density_methods
    )
    nfe: int = declare.nfe(
        40,
        "Number of function evaluations from t = 1 back to 0, in steps that become shorter "
        "towards the data; from an earlier t those that remain.",
        maximum=MAX_NFE,
    )
    tol: float = declare.tol(
        1e-5,
        "Of an adaptive solver: in each step, the estimated error of every point stays below "
        "it. The flow can magnify these errors. Adding a point changes the steps of all, hence "
        "their results, by about these errors.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.field != EXACT and not self.field.startswith("live:"):
            object.__setattr__(self, "path", FieldRef.of(self.field).path_spec)

    @property
    def learned_path(self) -> bool:
        """Whether the path is learned, so that p_t has no closed form before t = 1."""
        return self.path == LEARNED

    @property
    def label(self) -> str:
        """The field in a few words."""
        kind = "exact field" if self.field == EXACT else "network"
        return f"{kind} on {scheduler(self.path).label}"


@dataclass(frozen=True, kw_only=True)
class GridConfig(BackwardConfig):
    """The density of a flow on a grid."""

    cells: int = setting(
        90,
        "Grid over the frame",
        bounds=(2, 512),
        offered=CELLS,
        work=2,
        unit="cells per side",
        help="Number of cells along each axis.",
    )
    divergence: str = setting(
        "exact",
        "Divergence",
        choices={"exact": "Exact", "hutchinson": "Hutchinson"},
        help="In the plane the exact divergence costs two derivatives. Hutchinson's estimate "
        "costs one for each probe in any dimension and is random; images need it.",
    )
    probes: int = setting(
        4, "Probes per point", bounds=(1, 16), work=0.5, help="Of Hutchinson's estimate."
    )
    seed: int = declare.seed("Seed of the probes", help="Of the random probes.")

    def density(self, t: float) -> DensityConfig:
        """The density at one time."""
        probes = self.probes if self.divergence == "hutchinson" else 0
        seed = self.seed if probes else 0
        return self.part(DensityConfig, t=t, probes=probes, seed=seed)


def own_label(config: BackwardConfig, t: float) -> str:
    """The source of the exact density at t."""
    if config.learned_path and 0 < t < 1:
        return f"the path's own, from {MIXED:,} data points"
    return "exact, the path's own"


def mass_finding(config: GridConfig, density: DensityResult) -> Finding:
    """The integral of the density, and how it was computed."""
    text = (
        f"the density integrates to {density.mass:.4f} over the frame, with an estimated error "
        f"of {density.mass_error:.4f}. The midpoint rule on the same {config.cells}² cells gives "
        f"{density.exact_mass:.4f} for the exact density. Each point takes {density.nfe} "
        "evaluations."
    )
    if density.refined:
        text += (
            f" {100 * density.refined:.1f}% of the points, where the network saw no data, "
            "needed smaller steps."
        )
    if density.mass_error > MAX_MASS_ERROR:
        text += " More evaluations lower the error."
    if density.unconverged:
        text += f" {100 * density.unconverged:.1f}% have not converged: take more evaluations."
    if density.error is not None:
        text += (
            " The median standard error of Hutchinson's estimate is "
            f"{np.median(density.error):.3f} nats, which biases the mass upward."
        )
    numbers = {
        "mass": density.mass,
        "mass_error": density.mass_error,
        "exact_mass": density.exact_mass,
    }
    return Finding(lead="Mass", text=text, numbers=numbers)


def estimate_note(config: BackwardConfig, *, blurred: bool) -> Findings:
    """The replacement of the exact density of a learned path."""
    if not config.learned_path:
        return
    blur = f", blurred by {BLUR:g}" if blurred else ""
    yield Finding.note(
        "Between t = 0 and 1 the density of a learned path has no closed form; exact "
        f"means here the mean over {MIXED:,} data points{blur}."
    )


def density_columns(density: DensityResult) -> dict[str, Any]:
    """The grid as a table, one row for each cell."""
    table = {
        "t": density.t,
        **cells(density.axis),
        "log_p": density.log_density.ravel(),
        "exact_p": density.exact.ravel(),
    }
    if density.error is not None:
        table["standard_error"] = density.error.ravel()
    return table
