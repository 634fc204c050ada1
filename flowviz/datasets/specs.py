"""Data sets by their spec."""

from collections.abc import Callable
from functools import partial

from flowviz.datasets.entry import DATASETS, Dataset
from flowviz.datasets.mixture import mixture
from flowviz.datasets.uploads import BUILDERS, is_file, read, recall
from flowviz.datasets.word import word

__all__ = ["KINDS", "dataset", "is_linkable"]

KINDS: dict[str, Callable[[str], Dataset]] = {
    "mixture": mixture,
    "word": word,
    **{kind: partial(recall, kind) for kind in BUILDERS},
}
"""The function that makes a data set from the text after the colon, by the kind before it."""


def dataset(spec: str) -> Dataset:
    """The data set with the given spec; see `flowviz.datasets` for the forms.

    Check a spec from a link with `is_linkable` first, because this function also reads files.

    Raises:
        ValueError: there is no such data set; the message gives the reason.
    """
    kind, colon, text = spec.partition(":")
    if colon and kind in KINDS:
        return KINDS[kind](text)
    if spec not in DATASETS and is_file(spec):
        return read(spec)
    if spec not in DATASETS and colon:
        raise ValueError(
            "The kind of a data set, before the colon, must be one of "
            f"{', '.join(KINDS)}; got {kind!r}."
        )
    return DATASETS[spec]


def is_linkable(spec: str) -> bool:
    """Whether a link may have this spec; file paths would show files of the server."""
    kind, colon, _ = spec.partition(":")
    return spec in DATASETS or bool(colon and kind in KINDS)
