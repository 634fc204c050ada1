"""Data sets by their spec."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flowviz.bounds import shown
from flowviz.datasets.entry import DATASETS, Dataset
from flowviz.datasets.mixture import mixture
from flowviz.datasets.uploads import BUILDERS, is_file, read, recall
from flowviz.datasets.word import word

FROM = "from:"
"""The prefix of a data set with a source: from:SOURCE>DATA."""

KINDS: dict[str, Callable[[str], Dataset]] = {
    "mixture": mixture,
    "word": word,
    **{kind: partial(recall, kind) for kind in BUILDERS},
}
"""The function that makes a data set from the text after the colon, by the kind before it."""


def parted(spec: str) -> tuple[str, str]:
    """The specs of the source and of the data set at t = 1; "" for Gaussian noise.

    Raises:
        ValueError: the spec is no text, or starts with FROM and does not name two data sets.
    """
    if not isinstance(spec, str):
        raise ValueError(f"A data set must be a text such as 'moons'; got {shown(spec)}.")
    if not spec.startswith(FROM):
        return "", spec
    source, _, data = spec.removeprefix(FROM).partition(">")
    if not source or not data or data.startswith(FROM) or source.startswith(FROM):
        raise ValueError(
            "A data set with a source must read from:SOURCE>DATA, such as from:8gaussians>moons; "
            f"got {shown(spec)}."
        )
    return source, data


def joined(source: str, data: str) -> str:
    """The spec of a data set with a source, the inverse of `parted`."""
    return f"{FROM}{source}>{data}" if source else data


def dataset(spec: str, *, sources: bool = False) -> Dataset:
    """The data set with the given spec; see `flowviz.datasets` for the forms.

    Check a spec from a link with `is_linkable` first, because this function also reads files.

    Args:
        spec: of the data set.
        sources: whether the caller can start from another data set than Gaussian noise.

    Raises:
        ValueError: there is no such data set, or it has a source and must not; the message gives
            the reason.
    """
    source, data = parted(spec)
    if source and not sources:
        raise ValueError(
            "This computation starts from Gaussian noise, so that its data set must have no "
            f"source; got {shown(spec)}: use {shown(data)}."
        )
    if source:
        return _paired(dataset(source), dataset(data))
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


def _paired(source: Dataset, data: Dataset) -> Dataset:
    """A data set that is reached from a source."""
    return replace(
        data,
        name=joined(source.name, data.name),
        label=f"{data.label} from {source.label}",
        sentence=f"{data.sentence} At t = 0: {source.sentence}",
        source=source,
    )


def is_linkable(spec: str) -> bool:
    """Whether a link may have this spec; file paths would show files of the server."""
    if spec.startswith(FROM):
        try:
            return all(map(is_linkable, parted(spec)))
        except ValueError:
            return False
    kind, colon, _ = spec.partition(":")
    return spec in DATASETS or bool(colon and kind in KINDS)
