"""How likely is new data under each field of a data set? Likelihood, KL divergence and entropy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowviz import checkpoints
from flowviz.datasets import dataset
from flowviz.experiments.evaluate import Likelihood
from flowviz.experiments.evolution import EXACT
from flowviz.experiments.likelihood import LikelihoodConfig as Piece
from flowviz.experiments.likelihood import bits_per_dim, compute_likelihood
from flowviz.experiments.sources import PREFIX, exact_name, pinned, source
from flowviz.figures import theme
from flowviz.figures.likelihood import ranking
from flowviz.progress import Progress
from flowviz.schedulers import scheduler, spec_of
from flowviz.settings import Config, setting
from flowviz.studies._common import data_setting, seed_setting
from flowviz.studies._numbers import joined
from flowviz.studies.study import (
    Columns,
    Finding,
    LiveFields,
    NamedFigure,
    Study,
    Summary,
)


@dataclass(frozen=True, kw_only=True)
class LikelihoodsConfig(Config):
    """The likelihood of new data under several fields."""

    data: str = data_setting()
    fields: tuple[str, ...] = setting(
        (),
        "Fields",
        advanced=True,
        help="Checkpoints, or exact:DATA/PATH; by default all checkpoints of the data set, or "
        "the exact field of conditional OT.",
    )
    points: int = setting(
        2_000, "Points", bounds=(2, 100_000), advanced=True, help="New data points."
    )
    seed: int = seed_setting("Seed of the data")


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
    config: LikelihoodsConfig, *, field: LiveFields | None = None, progress: Progress | None = None
) -> Iterator[LikelihoodsResult]:
    """Measures one field after the other; yields after each.

    Raises:
        ValueError: the data set is a finite set of points, which has no density.
    """
    progress, live = progress or Progress(), field or {}
    names = config.fields or _all_names(config.data)
    entropy = dataset(config.data).distribution.entropy
    labels, paths, found = [], [], []
    for name in names:
        label, path, piece = _described(config, name, live)
        labels.append(label)
        paths.append(path)
        found.append(progress.cached(compute_likelihood, piece, field=live.get(name)))
        progress.report(len(found) / len(names), label)
        yield LikelihoodsResult(
            names=tuple(names[: len(found)]),
            labels=tuple(labels),
            paths=tuple(paths),
            found=tuple(found),
            entropy=entropy,
        )


def _all_names(data: str) -> tuple[str, ...]:
    cards = checkpoints.listing(lambda error: None)
    found = tuple(pinned(card) for card in cards if card.data == data)
    return found or (exact_name(data, "ot"),)


def _described(config: LikelihoodsConfig, name: str, live: LiveFields) -> tuple[str, str, Piece]:
    """Label, path and piece config of a field."""
    shared = {"data": config.data, "n": config.points, "seed": config.seed}
    if name in live:
        path = live[name].path.scheduler
        spec = spec_of(path)
        return f"trained here on {path.label}", spec, Piece(path=spec, field=name, **shared)
    found = source(name)
    path = found.path_spec
    if name.startswith(PREFIX):
        label = f"exact field on {scheduler(path).label}"
        return label, path, Piece(path=path, field=EXACT, **shared)
    card = checkpoints.read_card(name.rpartition("@")[0] or name)
    label = f"{card.method} on {scheduler(path).label}"
    return label, path, Piece(path=path, field=name, **shared)


def draw(
    config: LikelihoodsConfig, result: LikelihoodsResult, *, dark: bool = False
) -> list[NamedFigure]:
    """The NLL of each field above the entropy of the data."""
    return [
        NamedFigure(
            name="likelihoods",
            title="negative log-likelihood",
            alt="Negative log-likelihood of new data under each field, with standard errors; the "
            "line is the entropy of the data.",
            figure=ranking(
                result.labels,
                np.array([each.nll for each in result.found]),
                np.array([each.error or math.nan for each in result.found]),
                colours=[theme.path_colour(path, dark=dark) for path in result.paths],
                floor=result.entropy,
                dark=dark,
            ),
        )
    ]


def table(config: LikelihoodsConfig, result: LikelihoodsResult) -> Columns:
    """One row for each field."""
    return {
        "field": np.array(result.names),
        "nll_nats": np.array([each.nll for each in result.found]),
        "bits_per_dim": np.array([bits_per_dim(each.nll) for each in result.found]),
        "kl_nats": np.array([math.nan if r.kl is None else r.kl for r in result.found]),
        "standard_error": np.array([r.error or math.nan for r in result.found]),
        "nfe": np.array([each.nfe for each in result.found]),
    }


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


def say(config: LikelihoodsConfig, result: LikelihoodsResult) -> list[Finding]:
    """The field with the highest likelihood, within the errors."""
    best = result.best
    # The error of the best one's KL serves for the differences: all fields see the same data.
    near = [
        label
        for label, each in zip(result.labels, result.found, strict=True)
        if each.nll <= best.nll + 2 * (best.error or 0)
    ]
    lead = "Likeliest" if len(near) == 1 else "Likeliest, within the errors"
    numbers = {"nll": best.nll}
    text = f"{joined(near)}, with an NLL of {best.nll:.4f} nats"
    if best.kl is not None:
        numbers |= {"kl": best.kl, "standard_error": best.error}
        text += f", {best.kl:.4f} ± {best.error:.4f} above the best possible value"
    found = [Finding(lead=lead, text=f"{text}.", numbers=numbers)]
    if result.entropy is not None and best.nll < result.entropy:
        found.append(
            Finding(
                text="An NLL below the entropy comes from the random choice of the points, not "
                "from the model.",
                numbers={"entropy": result.entropy},
            )
        )
    found.append(
        Finding(
            text="With dopri5 at tolerance 1e-5. ± is the standard error of the KL divergence, in "
            "which the spread of the data cancels.",
            detail=True,
        )
    )
    return found


STUDY = Study(
    name="likelihood",
    title="Likelihood of new data under each field",
    config=LikelihoodsConfig,
    compute=compute,
    draw=draw,
    table=table,
    say=say,
    summarise=summarise,
    page="likelihood",
    seconds=4.0,
    smallest={"points": 50, "fields": ("exact:checkerboard/ot",)},
)
