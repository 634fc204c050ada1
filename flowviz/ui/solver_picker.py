"""The choice of an ODE solver and of its number of function evaluations or tolerance."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowviz.experiments.evolution import affordable, budgets
from flowviz.solvers import METHODS
from flowviz.ui import glossary, widgets

RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
MIN_TOL, MAX_TOL = 1e-9, 1e-1


@dataclass(frozen=True)
class Solver:
    """A solver with its budget.

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
    offered: Mapping[str, str],
    tolerances: range | None = None,
    help: str,
    nfe_help: str,
    tol_help: str | None = None,
    panel: str = "",
    title: str = "",
    used: str = "",
) -> Solver:
    """Draws the menu of solvers, and the control of the NFE or of the tolerance.

    Args:
        default: initial values of the controls.
        offered: labels of the solvers in the menu, by name.
        tolerances: k of each 10⁻ᵏ in a menu; None for a number field.
        help: what is solved, in a sentence.
        nfe_help: help text of the NFE.
        tol_help: help text of the tolerance.
        panel: name of the panel that the solver is for; "" for all, or for the first.
        title: before the labels.
        used: the method of a view that has its own, whose budget is drawn; "" for the chosen one.
    """
    prefix = f"{panel}-" if panel else ""
    method = widgets.select(
        f"{prefix}solver",
        f"{title}ODE solver",
        offered,
        default.method,
        help=f"{help} {METHODS.sentences(offered)}",
    )
    nfe, tol = default.nfe, default.tol
    label = f"{title}Tolerance of a step"
    if not METHODS[used or method].adaptive:
        nfe = widgets.budget(
            f"{prefix}nfe",
            f"{title}NFE" if panel else "Function evaluations (NFE)",
            budgets(method),
            nfe,
            also=affordable(method),
            help=glossary.helped("NFE", nfe_help),
        )
    elif tolerances is None:
        tol = widgets.number(
            f"{prefix}tol", label, MIN_TOL, MAX_TOL, tol, format="%.0e", help=tol_help
        )
    else:
        options = {f"{10.0**-k:g}": f"10⁻{RAISED[k]}" for k in tolerances}
        tol = float(widgets.select(f"{prefix}tol", label, options, f"{tol:g}", help=tol_help))
    return Solver(method, nfe, tol)


def spent(method: str, nfe: int, tol: float) -> dict[str, float]:
    """The budget that the method uses, by name: {"tol": tol} or {"nfe": nfe}."""
    return {"tol": tol} if METHODS[method].adaptive else {"nfe": nfe}
