"""How likely is new data under each field of a data set? Likelihood, KL divergence and entropy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flowviz.datasets import dataset
from flowviz.experiments.evaluate import Likelihood
from flowviz.experiments.fields import EXACT, PREFIX, FieldRef, exact_name, pinned, readable_cards
from flowviz.experiments.likelihood import LikelihoodConfig as Piece
from flowviz.experiments.likelihood import bits_per_dim, compute_likelihood
from flowviz.figures import theme
from flowviz.figures.likelihood import ranking
from flowviz.progress import Progress
from flowviz.schedulers import scheduler, spec_of
from flowviz.settings import Config, setting
from flowviz.studies import Figures, Finding, Findings, Live, NamedFigure, Study, Summary, Tables
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import joined


@dataclass(frozen=True, kw_only=True)
class LikelihoodsConfig(Config):
    """The likelihood of new data under several fields."""

    data: str = declare.data()
    fields: tuple[str, ...] = declare.names(
        "Fields",
        "Checkpoints, or exact:DATA/PATH; by default all checkpoints of the data set, or "
        "the exact field of conditional OT.",
    )
    points: int = setting(
        2_000, "Points", bounds=(2, 100_000), advanced=True, help="New data points."
    )
    seed: int = declare.seed("Seed of the data")

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        cards = [card for card in readable_cards() if card.data == self.data and not card.jumps]
        names = tuple(map(pinned, cards))
        return replace(self, fields=self.fields or names or (exact_name(self.data, "ot"),))


@dataclass(frozen=True, kw_only=True, eq=False)
class LikelihoodsResult:
    """The likelihoods computed so far.

    Attributes:
        names: the fields.
        labels: what they are, in a few words.
        paths: specs of their paths.
        found: their likelihoods.
        entropy: entropy of the data in nats, or None if it is not known.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    found: tuple[Likelihood, ...]
    entropy: float | None

    @property
    def best(self) -> Likelihood:
        """The likelihood of the field with the smallest NLL."""
        return min(self.found, key=lambda each: each.nll)


def compute(
    config: LikelihoodsConfig, live: Live, progress: Progress
) -> Iterator[LikelihoodsResult]:
    """Measures one field after the other; yields after each.

    Raises:
        ValueError: the data set is a finite set of points, which has no density.
    """
    names = config.fields
    entropy = dataset(config.data).distribution.entropy
    labels, paths, likelihoods = [], [], []
    for name in names:
        label, path, piece = _described(config, name, live)
        labels.append(label)
        paths.append(path)
        likelihoods.append(progress.cached(compute_likelihood, piece, field=live.get(name)))
        progress.report(len(likelihoods) / len(names), label)
        yield LikelihoodsResult(
            names=tuple(names[: len(likelihoods)]),
            labels=tuple(labels),
            paths=tuple(paths),
            found=tuple(likelihoods),
            entropy=entropy,
        )


def _described(config: LikelihoodsConfig, name: str, live: Live) -> tuple[str, str, Piece]:
    """Label, path and piece config of a field."""
    shared = {"data": config.data, "n": config.points, "seed": config.seed}
    if name in live:
        path = live[name].path.scheduler
        spec = spec_of(path)
        return f"trained here on {path.label}", spec, Piece(path=spec, field=name, **shared)
    ref = FieldRef.of(name)
    path = ref.path_spec
    if name.startswith(PREFIX):
        label = f"exact field on {scheduler(path).label}"
        return label, path, Piece(path=path, field=EXACT, **shared)
    label = f"{ref.method} on {scheduler(path).label}"
    return label, path, Piece(path=path, field=name, **shared)


def draw(config: LikelihoodsConfig, result: LikelihoodsResult) -> Figures:
    """The NLL of each field above the entropy of the data."""
    yield NamedFigure(
        name="likelihoods",
        title="negative log-likelihood",
        alt="Negative log-likelihood of new data under each field, with standard errors; the "
        "line is the entropy of the data.",
        figure=ranking(
            result.labels,
            np.array([each.nll for each in result.found]),
            np.array([each.error or math.nan for each in result.found]),
            colours=[theme.path_colour(path) for path in result.paths],
            floor=result.entropy,
        ),
    )


def table(config: LikelihoodsConfig, result: LikelihoodsResult) -> Tables:
    """One row for each field."""
    return [
        {
            "field": name,
            "nll_nats": each.nll,
            "bits_per_dim": bits_per_dim(each.nll),
            "kl_nats": math.nan if each.kl is None else each.kl,
            "standard_error": each.error or math.nan,
            "nfe": each.nfe,
        }
        for name, each in zip(result.names, result.found, strict=True)
    ]


def summarise(config: LikelihoodsConfig, result: LikelihoodsResult) -> Summary:
    """The table to read, with the entropy of the data."""
    rows = [
        (
            label,
            f"{each.nll:.4f}",
            f"{bits_per_dim(each.nll):.4f}",
            "" if each.kl is None else f"{each.kl:.4f} ± {each.error:.4f}",
            f"{each.nfe}",
        )
        for label, each in zip(result.labels, result.found, strict=True)
    ]
    if result.entropy is not None:
        entropy = result.entropy
        rows.append(
            ("entropy of the data", f"{entropy:.4f}", f"{bits_per_dim(entropy):.4f}", "0", "")
        )
    heads = ("field", "NLL, nats", "bits per dimension", "KL(data ‖ model), nats", "NFE")
    return Summary(title=f"Likelihood of {config.points:,} new points", heads=heads, rows=rows)


def say(config: LikelihoodsConfig, result: LikelihoodsResult) -> Findings:
    """The field with the highest likelihood, within the errors."""
    best = result.best
    # The error of the best one's KL serves for the differences: all fields see the same data.
    best_labels = [
        label
        for label, each in zip(result.labels, result.found, strict=True)
        if each.nll <= best.nll + 2 * (best.error or 0)
    ]
    lead = "Likeliest" if len(best_labels) == 1 else "Likeliest, within the errors"
    numbers = {"nll": best.nll}
    text = f"{joined(best_labels)}, with an NLL of {best.nll:.4f} nats"
    if best.kl is not None and best.error is not None:
        numbers |= {"kl": best.kl, "standard_error": best.error}
        text += f", {best.kl:.4f} ± {best.error:.4f} above the best possible value"
    yield Finding(lead=lead, text=f"{text}.", numbers=numbers)
    if result.entropy is not None and best.nll < result.entropy:
        yield Finding(
            text="An NLL below the entropy comes from the random choice of the points, not "
            "from the model.",
            numbers={"entropy": result.entropy},
        )
    yield Finding.note(
        "With dopri5 at tolerance 1e-5. ± is the standard error of the KL divergence, in "
        "which the spread of the data cancels."
    )


STUDY = Study(
    __name__,
    "Likelihood of new data under each field",
    LikelihoodsConfig,
    (compute, draw, table, say),
    summary=summarise,
    page="likelihood",
    seconds=4.0,
    smallest={"points": 50, "fields": ("exact:checkerboard/ot",)},
)
