"""Numbers as text, and paired comparisons, for the findings of studies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowviz.studies import Verdict

VERDICTS: dict[int, Verdict] = {-1: "supported", 0: "undecided", 1: "not supported"}
"""Of the claim that the first values are smaller, by the result of `compare`."""

STUDENT_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""95% quantiles of Student's t (two-sided) by the number of pairs."""

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

SINGLE_ERROR = 0.05
"""Relative difference that a comparison needs if there is only one pair."""


def compare(first: NDArray, second: NDArray) -> int:
    """Compares paired values (R,), such as one of each seed, by a paired t test at 95%.

    Returns:
        -1 if the first values are smaller, 1 if they are larger, 0 if the difference is within
        the error. Pairs that are not finite are left out; no pair gives 0.
    """
    gap = first - second
    gap = gap[np.isfinite(gap)]
    if not len(gap):
        return 0
    if len(gap) == 1:
        error = SINGLE_ERROR * abs(float(np.nanmean(second)))
    else:
        error = STUDENT_T[min(len(gap), max(STUDENT_T))] * gap.std(ddof=1) / np.sqrt(len(gap))
    return 0 if abs(gap.mean()) <= error else int(np.sign(gap.mean()))


def undecided(first: NDArray, second: NDArray) -> str:
    """What the test of `compare` states of a difference for which it gives 0."""
    count = int(np.isfinite(first - second).sum())
    if count == 1:
        return f"less than {SINGLE_ERROR:.0%}"
    return (
        f"not significant at 95% in a paired t test over {count} seeds (± is one standard error)"
    )


def mean(values: NDArray) -> str:
    """The mean of the finite values, with its standard error if there are several."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "(failed)"
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def small(value: float) -> str:
    """A number to two digits; below 0.01 to one digit times a power of ten."""
    if not np.isfinite(value):
        return "(failed)"
    if value == 0 or value >= 1e-2:
        return f"{value:.2g}"
    digits, power = f"{value:.0e}".split("e")
    return f"{digits}·10{str(int(power)).translate(RAISED)}"


def factor(value: float, base: float) -> str:
    """How many times smaller or larger a positive value is than another one."""
    if not (np.isfinite([value, base]).all() and value > 0 and base > 0):
        return "not comparable"
    ratio = max(base / value, value / base)
    text = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    if text == "1.0":
        return "the same"
    return f"{text}× {'smaller' if value < base else 'larger'}"


def joined(names: Sequence[str]) -> str:
    """Names as a list in a sentence: a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
