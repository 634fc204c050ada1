"""The choice of an ODE solver and what it may spend: evaluations, or else an error a step."""

from dataclasses import dataclass

from flowviz.experiments.evolution import affordable, budgets
from flowviz.solvers import METHODS
from flowviz.ui import state

__all__ = ["Solver", "pick", "spent"]

RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
LEAST, MOST = 1e-9, 1e-1
"""The tolerances that a box takes."""


@dataclass(frozen=True)
class Solver:
    """A solver and what it may spend.

    Attributes:
        method: name in METHODS.
        nfe: of a fixed-step solver; the default of an adaptive one.
        tol: of an adaptive solver; the default of a fixed-step one.
    """

    method: str
    nfe: int
    tol: float


def pick(
    default: Solver,
    *,
    tolerances: range | None = None,
    help: str,
    nfe_help: str,
    tol_help: str | None = None,
) -> Solver:
    """Draws the menu of solvers and the control of what the chosen one may spend.

    Args:
        default: what the controls open with.
        tolerances: k of each 10⁻ᵏ in a menu; without them a box takes any tolerance.
        help: what is solved, in a sentence.
        nfe_help: what an evaluation is spent on.
        tol_help: what a tolerance says.
    """
    method = state.select(
        "solver",
        "ODE solver",
        METHODS.labels,
        default.method,
        help=f"{help} {METHODS.sentences()}",
    )
    nfe, tol = default.nfe, default.tol
    label = "Tolerance of a step"
    if not METHODS[method].adaptive:
        nfe = state.budget(
            "nfe",
            "Budget: function evaluations (NFE)",
            budgets(method),
            nfe,
            also=affordable(method),
            help=nfe_help,
        )
    elif tolerances is None:
        tol = state.number("tol", label, LEAST, MOST, tol, format="%.0e", help=tol_help)
    else:
        options = {f"{10.0**-k:g}": f"10⁻{RAISED[k]}" for k in tolerances}
        tol = float(state.select("tol", label, options, f"{tol:g}", help=tol_help))
    return Solver(method, nfe, tol)


def spent(method: str, nfe: int, tol: float) -> dict[str, float]:
    """Of the two what the method goes by, by name: {"tol": tol} or {"nfe": nfe}."""
    return {"tol": tol} if METHODS[method].adaptive else {"nfe": nfe}
