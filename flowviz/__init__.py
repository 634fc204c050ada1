"""flowviz: a laboratory for flow matching (Lipman et al. 2022).

The functions of EXPORTED are imported at their first use; `flowviz.api` documents them. PyTorch is
not imported before.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

EXPORTED = (
    "dataset",
    "exact_field",
    "load",
    "log_prob",
    "sample",
    "scheduler",
    "solve",
    "study",
    "train",
)
"""The public functions, which are those of `flowviz.api`."""

__all__ = ["EXPORTED", "__version__", *EXPORTED]


def __getattr__(name: str) -> Any:
    """A function of EXPORTED."""
    if name not in EXPORTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("flowviz.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *EXPORTED])
