"""The error of this package, and how it shows values that come from a file."""

import reprlib

from flowviz.bounds import shortened

MAX_VALUE = 80
"""Characters of one value within a message."""

REPR = reprlib.Repr()
REPR.maxlevel = 2
REPR.maxstring = REPR.maxlong = REPR.maxother = MAX_VALUE


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, read or written: one short sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


def shown(value: object) -> str:
    """A value from a file as a message shows it: at most MAX_VALUE characters on one line.

    The cost is bounded for every value, nested containers and large numbers included.
    """
    try:
        text = " ".join(REPR.repr(value).split())
    except ValueError:  # a whole number of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
