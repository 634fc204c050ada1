"""Settings and helpers of several studies."""

from typing import Any

from flowviz.bounds import MAX_SEED
from flowviz.settings import setting
from flowviz.solvers import METHODS

SEED_HELP = "The same seed gives the same random numbers and the same result."


def data_setting(default: str = "checkerboard", help: str = "Distribution at t = 1.") -> Any:
    """The data set, as a spec of `flowviz.datasets`."""
    return setting(default, "Data set", kind="data", help=help)


def path_setting(
    default: str = "ot", help: str = "The path from noise to data.", **more: Any
) -> Any:
    """One probability path, as a spec of `flowviz.schedulers`."""
    return setting(default, "Path", kind="path", help=help, **more)


def paths_setting(
    default: tuple[str, ...] = ("ot", "vp"), help: str = "Paths to compare.", **more: Any
) -> Any:
    """Several probability paths."""
    return setting(default, "Paths", kind="path", help=help, **more)


def own_setting(help: str, label: str = "Add your own schedule") -> Any:
    """The spec of the user's own schedule, such as shaped:a1=0.2; "" leaves it out."""
    return setting("", label, kind="own", help=help)


def seed_setting(label: str = "Seed", help: str = SEED_HELP, **more: Any) -> Any:
    """The seed of the random numbers."""
    return setting(0, label, kind="seed", bounds=(0, MAX_SEED), help=help, **more)


def fixed_methods() -> dict[str, str]:
    """The label of each fixed-step solver by its name, the choices of a setting."""
    return {name: entry.label for name, entry in METHODS.items() if not entry.adaptive}


def adaptive_methods() -> dict[str, str]:
    """The label of each adaptive solver by its name."""
    return {name: entry.label for name, entry in METHODS.items() if entry.adaptive}


def signed(value: float) -> str:
    """A number to three decimals with a true minus sign."""
    return f"{value:.3f}".replace("-", "−")
