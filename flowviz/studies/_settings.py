"""Settings that several studies declare."""

from typing import Any

from flowviz.bounds import MAX_SEED
from flowviz.experiments.solver_curves import NFES, TOLERANCES
from flowviz.grids import GRIDS
from flowviz.methods import velocity_methods
from flowviz.metrics import METRICS
from flowviz.settings import setting
from flowviz.solvers import METHODS

SEED_HELP = "The same seed gives the same random numbers and the same result."

JUMPING = "jumps, one per evaluation ([NFE](nfe)), with no trajectory between."
"""What one sees of a flow map with the solver “jumps”."""


def data(
    default: str = "checkerboard", help: str = "Distribution at t = 1.", *, sources: bool = False
) -> Any:
    """The data set, as a spec of `flowviz.datasets`; with `sources` it can have a source."""
    return setting(default, "Data set", kind="data", help=help, sources=sources)


def path(default: str = "ot", help: str = "The path from noise to data.", **more: Any) -> Any:
    """One probability path, as a spec of `flowviz.schedulers`."""
    return setting(default, "Path", kind="path", help=help, **more)


def paths(
    default: tuple[str, ...] = ("ot", "vp"), help: str = "Paths to compare.", **more: Any
) -> Any:
    """Several probability paths."""
    return setting(default, "Paths", kind="path", help=help, **more)


def own(help: str, label: str = "Add your own schedule") -> Any:
    """The spec of the user's own schedule, such as shaped:a1=0.2; "" leaves it out."""
    return setting("", label, kind="own", help=help)


LEARNED, EXACT = "learned", "exact"
"""The kinds of fields of `field`."""


def field(default: str, help: str) -> Any:
    """Whether the field is learned or exact."""
    kinds = {LEARNED: "Learned", EXACT: "Exact"}
    return setting(default, "Velocity field", choices=kinds, help=help)


def names(label: str, help: str, default: str | tuple[str, ...] = ()) -> Any:
    """Names of fields, or one name; see `flowviz.experiments.fields`."""
    return setting(default, label, kind="field", advanced=True, help=help)


def network(label: str = "Network") -> Any:
    """The name of a checkpoint; "" for that of the data set and the path."""
    return names(label, "A checkpoint; by default DATA-PATH.", default="")


def method(
    default: str, help: str, label: str = "ODE solver", choices: Any = velocity_methods
) -> Any:
    """The name of an ODE solver."""
    return setting(default, label, slug="solver", choices=choices, help=help)


def nfe(default: int, help: str, maximum: int = 10_000) -> Any:
    """The number of function evaluations of a fixed-step solver."""
    return setting(default, "NFE", bounds=(1, maximum), work=1, help=help)


def tol(default: float, help: str, minimum: float = 1e-12) -> Any:
    """The tolerance of an adaptive solver."""
    return setting(default, "Tolerance", bounds=(minimum, 0.5), help=help)


def seed(label: str = "Seed", help: str = SEED_HELP, **more: Any) -> Any:
    """The seed of the random numbers."""
    return setting(0, label, kind="seed", bounds=(0, MAX_SEED), help=help, **more)


def fixed_methods() -> dict[str, str]:
    """The menu label of each fixed-step solver by its name."""
    return velocity_methods(fixed_only=True)


def adaptive_methods() -> dict[str, str]:
    """The label of each adaptive solver by its name."""
    return {name: entry.label for name, entry in METHODS.items() if entry.adaptive}


def fields(help: str) -> Any:
    """Velocity fields that lead to the data set; () for OT and VP, networks where both exist."""
    return setting((), "Fields", kind="field", help=help)


def grid() -> Any:
    """The time grid of fixed-step methods."""
    label = "Steps of fixed-step solvers"
    return setting("uniform", label, choices=GRIDS, help=GRIDS.sentences())


def measure(default: str = "histogram-tv") -> Any:
    """The metric of sample quality; by default the one that varies least between seeds."""
    return setting(
        default,
        "Sample quality",
        choices=METRICS,
        help="Lower is better. "
        + METRICS.sentences()
        + " The slow metrics (exact W₂, MMD) take about 20 seconds longer.",
    )


def count() -> Any:
    """The number of samples of each solve."""
    return setting(
        1_000,
        "Samples per seed",
        bounds=(10, 20_000),
        offered=(500, 1_000, 2_000, 4_000),
        work=1,
        help="More samples lower the floor of the metric.",
    )


def seeds() -> Any:
    """The number of seeds."""
    text = "Number of repetitions, for error bars."
    return setting(3, "Seeds", bounds=(1, 8), work=1, help=text)


def nfes() -> Any:
    """The budgets of fixed-step methods."""
    text = "Budgets of fixed-step solvers, or the nearest that a solver can spend."
    return setting(NFES, "NFE", bounds=(1, 1_000), advanced=True, work=1, help=text)


def tols() -> Any:
    """The tolerances of adaptive methods."""
    text = "Tolerances of adaptive solvers."
    return setting(TOLERANCES, "Tolerances", bounds=(1e-10, 0.5), advanced=True, help=text)
