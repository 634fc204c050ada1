"""From a data set's spec to the data set."""

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
"""By what stands before the colon: what makes a data set of the text after it."""


def dataset(spec: str) -> Dataset:
    """The data set that a spec names; see `flowviz.datasets` for the forms.

    A spec from a link must pass `is_linkable` first, since this also reads files.

    Raises:
        ValueError: there is none, and why.
    """
    kind, colon, text = spec.partition(":")
    if colon and kind in KINDS:
        return KINDS[kind](text)
    if spec not in DATASETS and is_file(spec):
        return read(spec)
    if spec not in DATASETS and colon:
        raise ValueError(
            "Before the colon of a data set there must be one of "
            f"{', '.join(KINDS)}; got {kind!r}."
        )
    return DATASETS[spec]


def is_linkable(spec: str) -> bool:
    """Whether a link may hold this spec: all but paths, which would show a server's own files."""
    kind, colon, _ = spec.partition(":")
    return spec in DATASETS or bool(colon and kind in KINDS)
