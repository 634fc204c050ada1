"""Quality of generated images: IMAGE_METRICS of samples at several NFE, and its storage.

All samples of a sweep start from the same noise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from flowviz.checkpoints.images import ImageCheckpoint, snapshot_checkpoint
from flowviz.datasets.images import ImageSet
from flowviz.experiments.image_judge import Judge
from flowviz.experiments.images import ImageConfig, nearest_nfe, sample_all
from flowviz.fields.guided import EVER
from flowviz.metrics.images import (
    IMAGE_METRICS,
    Inception,
    JudgedImages,
    Moments,
    features_of,
    frechet_error,
    moments,
)
from flowviz.solvers import METHODS

BATCH = 64
"""Images per batch: larger than for display, since nobody waits for the first."""

INCEPTION_BATCH = 50


def weight_label(guidance: float | None, interval: tuple[float, float], guide: str = "") -> str:
    """Guidance in a few words, such as "w = 2"; "" for None."""
    if guidance is None:
        return ""
    suffix = "" if interval == EVER else f" for t = {interval[0]:g} to {interval[1]:g}"
    return f"w = {guidance:g}{f' by {guide}' if guide else ''}{suffix}"


@dataclass(frozen=True)
class QualityPoint:
    """Samples drawn in one way, judged.

    Attributes:
        solver: name in METHODS.
        budget: NFE given to the solver, or the tolerance of an adaptive one.
        grid: name in GRIDS; "" of an adaptive solver.
        guidance: see `ImageConfig`; None without classes and guiding checkpoint.
        interval: times at which it acts, likewise.
        n: number of samples.
        seed: of the noise.
        nfe: number of evaluations; of an adaptive solver the mean over the images.
        passes: network passes per image.
        measures: values by name in IMAGE_METRICS; None where a metric is not defined.
        floor: Frechet distance of as many real test images of all classes; None if unknown, or if
            only some classes were wanted.
        fid_protocol: how FID was measured; "" without it.
        classes: the wanted classes in turn; () for all, or for none if guidance is None.
        guide: name of the guiding checkpoint; "" for classifier-free guidance.
        error: standard error of the Frechet distance, see `frechet_error`; None if unknown.
    """

    solver: str
    budget: float
    grid: str
    guidance: float | None
    n: int
    seed: int
    nfe: float
    passes: float
    measures: dict[str, float | None] = field(hash=False)
    floor: float | None = None
    fid_protocol: str = ""
    classes: tuple[int, ...] = ()
    interval: tuple[float, float] = EVER
    guide: str = ""
    error: float | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What distinguishes the points of a checkpoint."""
        return _key(vars(self))

    @property
    def weight(self) -> str:
        """The guidance in a few words, such as "w = 2"; "" without classes."""
        return weight_label(self.guidance, self.interval, self.guide)

    def as_dict(self) -> dict[str, Any]:
        """The point as it is stored: each measure is one more entry."""
        entries = {name: value for name, value in vars(self).items() if name != "measures"}
        return entries | self.measures

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> "QualityPoint":
        """The point that `as_dict` stored; entries without a meaning of their own are measures.

        Raises:
            TypeError: an entry is missing.
        """
        names = {entry.name for entry in fields(cls)} - {"measures"}
        values = {name: value for name, value in entries.items() if name in names}
        values["classes"] = tuple(values.get("classes", ()))
        values["interval"] = tuple(values.get("interval", EVER))
        return cls(**values, measures={k: v for k, v in entries.items() if k not in names})


@dataclass(frozen=True)
class Fid:
    """What FID compares with.

    Attributes:
        inception: the Inception network.
        moments: of its features of real images.
        name: of these images, for the protocol.
    """

    inception: Inception
    moments: Moments
    name: str

    @classmethod
    def of_images(
        cls, inception: Inception, data: ImageSet, *, on_batch: Callable[[int], None] | None = None
    ) -> "Fid":
        """FID against all images of a set; `on_batch` is called with the number done."""
        features = features_of(inception, data.images, batch=INCEPTION_BATCH, on_batch=on_batch)
        return cls(inception, moments(features), f"{data.label} train")

    def protocol(self, n: int) -> str:
        """How FID of n samples is measured, in words."""
        count = f" ({self.moments.n})" if self.moments.n else ""
        return f"{n} samples against {self.name}{count}; {self.inception.protocol}"


def judge_samples(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    judge: Judge,
    *,
    fid: Fid | None = None,
    metrics: Sequence[str] | None = None,
    device: torch.device | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> QualityPoint:
    """Draws the config's images and judges them.

    Args:
        fid: what FID compares with; None for no FID.
        metrics: names in IMAGE_METRICS; all by default.
        device: where images are drawn.
        on_batch: called with the number of images drawn.

    Raises:
        ValueError: the config does not fit the checkpoint, or the judge is of other images.
        SolveError: as `flowviz.solvers.solve`.
    """
    if checkpoint.shape != (judge.card.channels, judge.card.size, judge.card.size):
        raise ValueError(
            f"{judge.card.name} judges images of {judge.card.size} x {judge.card.size}; got "
            f"{checkpoint.shape}."
        )
    chosen = {name: IMAGE_METRICS[name] for name in metrics or IMAGE_METRICS}
    samples = sample_all(checkpoint, config, batch=BATCH, device=device, on_batch=on_batch)
    features, pixels = judge.features(samples.images), torch.from_numpy(samples.images)
    judged = JudgedImages(
        samples.images,
        samples.labels if config.classes else None,
        features,
        judge.classes(features),
        judge.reference,
        fid and features_of(fid.inception, pixels, batch=INCEPTION_BATCH),
        fid and fid.moments,
    )
    entries = _config_entries(checkpoint, config)
    return QualityPoint(
        **entries,
        nfe=samples.nfe,
        passes=samples.passes,
        measures={name: metric.compute(judged) for name, metric in chosen.items()},
        floor=None if entries["classes"] else judge.floor(config.n),
        fid_protocol=fid.protocol(config.n) if fid else "",
        error=frechet_error(features, judge.reference),
    )


def quality_sweep(
    checkpoint: ImageCheckpoint,
    configs: Sequence[ImageConfig],
    judge: Judge,
    *,
    known: Sequence[QualityPoint] = (),
    fid: Fid | None = None,
    metrics: Sequence[str] | None = None,
    **options: Any,
) -> Iterator[QualityPoint]:
    """The point of each config in turn, taken from `known` if it has all requested metrics.

    Args:
        known: points measured before; with `fid` they must have FID of the same protocol.
        options: of `judge_samples`, as `fid` and `metrics` are.
    """
    known_by_key = {point.key: point for point in known}
    for config in configs:
        point = known_by_key.get(_key(_config_entries(checkpoint, config)))
        if point is not None:
            other = fid is not None and point.fid_protocol != fid.protocol(config.n)
            if other or not set(metrics or IMAGE_METRICS) <= point.measures.keys():
                point = None
        yield point or judge_samples(
            checkpoint, config, judge, fid=fid, metrics=metrics, **options
        )


def nfe_configs(config: ImageConfig, nfes: Sequence[int]) -> list[ImageConfig]:
    """The config at each NFE, or the nearest that its solver can make, without repetitions."""
    budgets = dict.fromkeys(nearest_nfe(config.solver, nfe) for nfe in nfes)
    return [replace(config, nfe=nfe) for nfe in budgets]


def training_quality(
    snapshots: Sequence[Path],
    config: ImageConfig,
    judge: Judge,
    *,
    data: ImageSet | None = None,
    **options: Any,
) -> Iterator[tuple[int, QualityPoint]]:
    """The number of images seen in training and the quality then, for each snapshot.

    Args:
        snapshots: files written by a training run, see `flowviz.training.image_files`.
        data: the image set of the run; read by default.
        options: of `judge_samples`.
    """
    for path in snapshots:
        checkpoint = snapshot_checkpoint(path, data)
        yield checkpoint.card.images, judge_samples(checkpoint, config, judge, **options)


def points_from(quality: Mapping[str, Any]) -> list[QualityPoint]:
    """The points of a checkpoint's stored quality, without damaged ones."""
    points = []
    for entry in quality.get("points", []):
        try:
            point = QualityPoint.from_dict(entry)
        except (TypeError, AttributeError):
            continue
        if point.solver in METHODS and "frechet" in point.measures:
            points.append(point)
    return points


def merged(quality: Mapping[str, Any], points: Sequence[QualityPoint]) -> dict[str, Any]:
    """Stored quality with points added or replaced by those of the same key, sorted by NFE."""
    all_points = {point.key: point for point in [*points_from(quality), *points]}
    ordered = sorted(all_points.values(), key=lambda p: (p.solver, str(p.guidance), p.n, p.nfe))
    return dict(quality) | {"points": [point.as_dict() for point in ordered]}


def _config_entries(checkpoint: ImageCheckpoint, config: ImageConfig) -> dict[str, Any]:
    """The entries of a point that follow from the config."""
    everything = config.classes == tuple(range(len(checkpoint.card.classes)))
    guide = checkpoint.guide
    guided = bool(config.classes) or guide is not None
    return {
        "solver": config.solver,
        "budget": config.tol if config.adaptive else config.nfe,
        "grid": "" if config.adaptive else config.grid,
        "guidance": config.guidance if guided else None,
        "interval": config.interval if guided else EVER,
        "guide": guide.card.name if guide else "",
        "classes": () if everything else config.classes,
        "n": config.n,
        "seed": config.seed,
    }


def _key(entries: Mapping[str, Any]) -> tuple[object, ...]:
    names = "solver", "budget", "grid", "guidance", "interval", "guide", "classes", "n", "seed"
    return tuple(entries[name] for name in names)
