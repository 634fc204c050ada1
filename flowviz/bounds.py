"""Bounds of numbers in configs and environment variables, and the error messages outside them."""

import os
import reprlib
from numbers import Real

MAX_MESSAGE = 300
"""Largest number of characters of an error message, which may quote a file or an argument."""

MAX_VALUE = 80
"""Characters of one value within a message."""

REPR = reprlib.Repr()
REPR.maxlevel = 2
REPR.maxstring = REPR.maxlong = REPR.maxother = MAX_VALUE

MAX_SEED = 2**31 - 1
"""The largest seed: the same for every command, page and file."""

MAX_SAMPLES = 10_000_000
"""The largest number of samples of one command."""

MAX_NFE = 20_000
"""The largest number of function evaluations of one solve; adaptive solvers take hundreds."""

MAX_BATCH = 1_000_000
"""The largest number of samples of an adaptive solver: they share its steps, hence the memory."""

FRAME = 5.0
"""Figures show the plane over [-FRAME, FRAME]^2, for every data set."""


def check_bounds(config: object, **bounds: tuple[float, float]) -> None:
    """Checks that numbers of a config lie within bounds, given as name=(low, high), inclusive.

    Raises:
        ValueError: a number does not; the message has its name, bounds and value.
    """
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if not isinstance(value, Real):
            raise ValueError(f"{name} must be a number; got {shown(value)}.")
        try:
            inside = low <= float(value) <= high
        except OverflowError:  # a whole number beyond all floats
            inside = False
        if not inside:
            is_integer = isinstance(low, int) and isinstance(high, int)
            span = f"{low}..{high}" if is_integer else f"[{low:g}, {high:g}]"
            raise ValueError(f"{name} must be in {span}; got {shown(value)}.")


def is_whole(value: object, low: int = 0, high: int = 2**53) -> bool:
    """Whether a value of any type, such as from a file, is a whole number in low..high."""
    return type(value) is int and low <= value <= high


def shortened(message: str) -> str:
    """The message on one line of at most MAX_MESSAGE characters, cut at its end if longer."""
    text = " ".join(message.split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 2].rstrip(" .") + "…."


def shown(value: object) -> str:
    """A value of any source as a message shows it: at most MAX_VALUE characters on one line.

    The cost is bounded for every value, nested containers and large numbers included.
    """
    try:
        text = " ".join(REPR.repr(value).split())
    except ValueError:  # a whole number of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def from_environment(name: str, default: int, low: int, high: int) -> int:
    """The whole number in an environment variable; `default` if it is not set or empty.

    Raises:
        ValueError: it is no whole number in low..high.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise ValueError(
            f"{name} must be a whole number in {low}..{high}; got {text[:40]!r}. Correct it or "
            f"leave it out for {default}."
        )
    return int(text)
