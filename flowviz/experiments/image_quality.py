"""How good generated images are: distances to real ones, classes hit, copies, likelihood.

Judged by the shipped classifier: the Frechet distance in its features (never called FID, which is
that of another network on another scale) and the share of images of the class that was asked for.
Real test images against real training images give the floor, at the same number of images, since
the distance falls with it. All images of a sweep start from the same noise.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.checkpoints.images import (
    ImageCard,
    ImageCheckpoint,
    load_classifier,
    locate_images,
    snapshot_checkpoint,
)
from flowviz.datasets.images import ImageSet, image_set
from flowviz.densities import draw_probes, log_prob, normal_log_prob
from flowviz.draws import stream
from flowviz.experiments.images import (
    ImageConfig,
    field_of,
    nearest_nfe,
    pixel_straightness,
    sample,
    sample_all,
)
from flowviz.files import replacing
from flowviz.metrics.images import (
    Inception,
    Moments,
    features_of,
    frechet,
    load_moments,
    moments,
    nearest,
)
from flowviz.networks.classifier import Classifier
from flowviz.solvers import METHODS
from flowviz.straightness import Straightness

__all__ = [
    "CLASSIFIER",
    "Bits",
    "Judge",
    "Nearest",
    "QualityPoint",
    "bits_per_dimension",
    "classifier_judge",
    "fid_reference",
    "floors_of",
    "judge_samples",
    "load_reference",
    "nearest_training",
    "quality_sweep",
    "save_reference",
    "training_quality",
    "ways_of",
]

CLASSIFIER = "cifar10-classifier"
"""The shipped classifier."""

FLOOR_SIZES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Numbers of test images for which the floor is kept beside the classifier."""

BATCH = 64
"""Images drawn together where nobody waits for the first."""

FLOOR_SEED = 0


@dataclass(frozen=True)
class Judge:
    """A classifier and what the real training images look like to it.

    Attributes:
        card: of the classifier.
        network: the classifier.
        reference: moments of the features of the training images.
        floors: Frechet distance of n real test images from `reference`, by n; see `floor`.
    """

    card: ImageCard
    network: Classifier
    reference: Moments
    floors: Mapping[int, float]

    def floor(self, n: int) -> float | None:
        """The distance of n real test images from the training images.

        Between two kept numbers it is interpolated in 1/n, with which the bias of a covariance of
        n rows goes; None beyond them.
        """
        sizes = sorted(self.floors, reverse=True)
        if not sizes or not sizes[-1] <= n <= sizes[0]:
            return None
        return float(np.interp(1 / n, [1 / m for m in sizes], [self.floors[m] for m in sizes]))

    def measured(self, quality: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's stored quality has the numbers of this classifier."""
        return quality.get("protocol", {}).get("classifier_sha256") == self.card.sha256

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of images (n, C, H, W), (n, F)."""
        return features_of(partial(_features, self.network), torch.from_numpy(images))

    def classes(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class that the last layer names for features (n, F), (n,)."""
        with torch.no_grad():
            return self.network.head(torch.from_numpy(features)).argmax(dim=1).numpy()


@dataclass(frozen=True)
class QualityPoint:
    """Samples drawn in one way, judged.

    Attributes:
        solver: name in METHODS.
        budget: what the solver was given: NFE, or the tolerance of an adaptive one.
        grid: name in GRIDS.
        guidance: see `ImageConfig`; None without classes.
        classes: those asked for in turn; () for all, or for none where guidance is None.
        n: samples.
        seed: of the noise.
        nfe: evaluations counted; of an adaptive solver their mean over the images.
        passes: network passes for each image.
        frechet: distance in the classifier's features from the training images.
        floor: the same of as many real test images of all classes; None where it is not known, or
            some classes alone were asked for.
        accuracy: share of samples whose class is the one asked for; None without classes.
        fid: FID proper, where it was asked for.
        fid_protocol: how it was measured; "" without it.
    """

    solver: str
    budget: float
    grid: str
    guidance: float | None
    n: int
    seed: int
    nfe: float
    passes: float
    frechet: float
    floor: float | None
    accuracy: float | None
    fid: float | None = None
    fid_protocol: str = ""
    classes: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this point from others of the same checkpoint."""
        return _key(vars(self))


def _key(asked: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells points apart, of their attributes or of what `_asked` says of a config."""
    names = ("solver", "budget", "grid", "guidance", "classes", "n", "seed")
    return tuple(asked[name] for name in names)


@dataclass(frozen=True)
class Nearest:
    """The training images nearest to samples, by pixels and by features.

    Attributes:
        pixel_distance: (n,) root mean square difference, in levels of 0..255.
        pixel_index: (n,) places in the training set.
        feature_distance: (n,) Euclidean distance of the classifier's features; None without one.
        feature_index: (n,) places in the training set; None without a classifier.
        floor: (m,) the same pixel distance of real test images, what no copy looks like.
    """

    pixel_distance: NDArray[np.float64]
    pixel_index: NDArray[np.int64]
    feature_distance: NDArray[np.float64] | None
    feature_index: NDArray[np.int64] | None
    floor: NDArray[np.float64]


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of real images under a flow, see `bits_per_dimension`.

    Attributes:
        bits: (n,) bits per dimension of each image.
        probe_error: (n,) standard error of each from Hutchinson's probes alone; None of one probe.
        nfe: evaluations, each with as many backward passes as there are probes; where images were
            solved in several batches, the most of a batch.
    """

    bits: NDArray[np.float64]
    probe_error: NDArray[np.float64] | None
    nfe: int

    @property
    def mean(self) -> float:
        """Mean over the images."""
        return float(self.bits.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean: images, dequantisation and probes together; NaN of one."""
        return (
            float(self.bits.std(ddof=1) / math.sqrt(len(self.bits)))
            if len(self.bits) > 1
            else math.nan
        )


def classifier_judge(
    name: str | Path = CLASSIFIER, *, on_batch: Callable[[int, int], None] | None = None
) -> Judge:
    """The judge of a classifier by name or file, with the reference kept beside it.

    Where there is none, it is computed from the classifier's image set, which must be here then:
    a minute or two; `on_batch` hears how many of how many images are done.

    Raises:
        ValueError: the classifier is not there, or neither are its reference and the images.
    """
    card, network = load_classifier(name)
    kept = _reference_file(name)
    if kept.is_file():
        reference, floors = load_reference(kept, card.sha256)
        return Judge(card, network, reference, floors)
    train, test = image_set(card.data, "train"), image_set(card.data, "test")
    return measure_reference(card, network, train, test, on_batch=on_batch)


def measure_reference(
    card: ImageCard,
    network: Classifier,
    train: ImageSet,
    test: ImageSet,
    *,
    on_batch: Callable[[int, int], None] | None = None,
) -> Judge:
    """The judge of a classifier, its reference and floors measured on real images."""
    total = len(train) + len(test)
    extract = partial(_features, network)

    def told(before: int) -> Callable[[int], None]:
        return lambda done: on_batch(before + done, total) if on_batch else None

    real = features_of(extract, train.images, on_batch=told(0))
    held = features_of(extract, test.images, on_batch=told(len(train)))
    reference = moments(real)
    return Judge(card, network, reference, floors_of(held, reference))


def floors_of(held: NDArray[np.float32], reference: Moments) -> dict[int, float]:
    """Frechet distances of the first n of shuffled features of test images, by n."""
    order = np.random.default_rng(FLOOR_SEED).permutation(len(held))
    sizes = sorted({n for n in FLOOR_SIZES if n < len(held)} | {len(held)})
    return {n: frechet(moments(held[order[:n]]), reference) for n in sizes}


def save_reference(name: str | Path, judge: Judge) -> Path:
    """Keeps a judge's reference beside its classifier, NAME.reference.npz; returns the file."""
    path = _reference_file(name)
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            mu=judge.reference.mean,
            sigma=judge.reference.covariance.astype(np.float32),
            n=np.int64(judge.reference.n),
            floor_n=np.array(list(judge.floors), np.int64),
            floor=np.array(list(judge.floors.values())),
            sha256=np.array(judge.card.sha256),
        )
    return path


def load_reference(path: str | Path, sha256: str) -> tuple[Moments, dict[int, float]]:
    """The reference and floors that `save_reference` kept.

    Raises:
        ValueError: the file is damaged or was measured by another classifier.
    """
    reference = load_moments(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            owner = str(file["sha256"])
            floors = dict(zip(file["floor_n"].tolist(), file["floor"].tolist(), strict=True))
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a classifier's reference.") from error
    if owner != sha256:
        raise ValueError(f"{path} was measured by another classifier; measure it again.")
    return reference, floors


def judge_samples(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    judge: Judge,
    *,
    inception: Inception | None = None,
    fid_moments: Moments | None = None,
    fid_name: str = "",
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> QualityPoint:
    """Draws the config's images and judges them.

    Args:
        checkpoint: whose images.
        config: how to draw them.
        judge: the classifier with its reference.
        inception: for FID proper.
        fid_moments: what FID compares with, see `fid_reference`.
        fid_name: what these moments are of, for the protocol.
        device: where images are drawn.
        should_stop: asked before each evaluation.
        on_batch: hears how many images are drawn.

    Raises:
        ValueError: the config does not fit the checkpoint, or the judge is of other images.
        SolveError, SolveCancelled: as `flowviz.solvers.solve`.
    """
    if checkpoint.shape != (judge.card.channels, judge.card.size, judge.card.size):
        raise ValueError(
            f"{judge.card.name} judges images of {judge.card.size} x {judge.card.size}; got "
            f"{checkpoint.shape}."
        )
    drawn = sample_all(
        checkpoint,
        config,
        batch=BATCH,
        device=device,
        should_stop=should_stop,
        on_batch=on_batch,
    )
    asked = _asked(checkpoint, config)
    features = judge.features(drawn.images)
    accuracy = None
    if config.classes:
        accuracy = float((judge.classes(features) == drawn.labels).mean())
    fid, protocol = None, ""
    if inception is not None and fid_moments is not None:
        seen = features_of(inception, torch.from_numpy(drawn.images), batch=50)
        fid = frechet(moments(seen), fid_moments)
        protocol = _fid_protocol(config, inception, fid_moments, fid_name)
    return QualityPoint(
        **asked,
        nfe=drawn.nfe,
        passes=drawn.passes,
        frechet=frechet(moments(features), judge.reference),
        floor=None if asked["classes"] else judge.floor(config.n),
        accuracy=accuracy,
        fid=fid,
        fid_protocol=protocol,
    )


def _asked(checkpoint: ImageCheckpoint, config: ImageConfig) -> dict[str, Any]:
    """What a config asks of a checkpoint, by the names of a point's attributes."""
    everything = config.classes == tuple(range(len(checkpoint.card.classes)))
    return {
        "solver": config.solver,
        "budget": config.tol if config.adaptive else config.nfe,
        "grid": "" if config.adaptive else config.grid,
        "guidance": config.guidance if config.classes else None,
        "classes": () if everything else config.classes,
        "n": config.n,
        "seed": config.seed,
    }


def _fid_protocol(
    config: ImageConfig, inception: Inception, fid_moments: Moments, fid_name: str
) -> str:
    """How FID is measured, in words."""
    count = f" ({fid_moments.n})" if fid_moments.n else ""
    return f"{config.n} samples against {fid_name}{count}; {inception.protocol}"


def quality_sweep(
    checkpoint: ImageCheckpoint,
    configs: Sequence[ImageConfig],
    judge: Judge,
    *,
    known: Sequence[QualityPoint] = (),
    inception: Inception | None = None,
    fid_moments: Moments | None = None,
    fid_name: str = "",
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[QualityPoint]:
    """Each config's point in turn; one of `known` is taken over where it is the same.

    Args:
        checkpoint: whose images.
        configs: how to draw them.
        judge: the classifier with its reference.
        known: points measured before.
        inception, fid_moments, fid_name: as in `judge_samples`; with them nothing is taken over
            whose FID is of another protocol, or that has none.
        device: where images are drawn.
        should_stop: asked before each evaluation.
        on_batch: hears how many images of a point are drawn.
    """
    have = {point.key: point for point in known}
    for config in configs:
        point = have.get(_key(_asked(checkpoint, config)))
        if point is not None and inception is not None and fid_moments is not None:
            wanted = _fid_protocol(config, inception, fid_moments, fid_name)
            point = point if point.fid_protocol == wanted else None
        yield point or judge_samples(
            checkpoint,
            config,
            judge,
            inception=inception,
            fid_moments=fid_moments,
            fid_name=fid_name,
            device=device,
            should_stop=should_stop,
            on_batch=on_batch,
        )


def nfe_configs(config: ImageConfig, nfes: Sequence[int]) -> list[ImageConfig]:
    """The config at each NFE, or the nearest below that its solver can take, each once."""
    budgets = dict.fromkeys(nearest_nfe(config.solver, nfe) for nfe in nfes)
    return [replace(config, nfe=nfe) for nfe in budgets]


def training_quality(
    snapshots: Sequence[Path],
    config: ImageConfig,
    judge: Judge,
    *,
    data: ImageSet | None = None,
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, QualityPoint]]:
    """Images seen in training and the quality then, snapshot after snapshot.

    Args:
        snapshots: files that a training run wrote, see `flowviz.training.image_runs`.
        config: how images are drawn of each.
        judge: the classifier with its reference.
        data: the image set of the run; read by default.
        device: where images are drawn.
        should_stop: asked before each evaluation.
    """
    for path in snapshots:
        checkpoint = snapshot_checkpoint(path, data)
        point = judge_samples(checkpoint, config, judge, device=device, should_stop=should_stop)
        yield checkpoint.card.images, point


def fid_reference(
    inception: Inception,
    data: ImageSet,
    *,
    n: int | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Moments:
    """The moments of Inception's features of the first n images of a set, all by default."""
    return moments(features_of(inception, data.images[:n], batch=50, on_batch=on_batch))


def nearest_training(
    images: NDArray[np.uint8],
    train: ImageSet,
    test: ImageSet,
    *,
    judge: Judge | None = None,
    floor: int = 200,
    on_batch: Callable[[int], None] | None = None,
) -> Nearest:
    """The training image nearest to each of images (n, C, H, W), and what real images get.

    Args:
        images: samples.
        train: where to look.
        test: real images that were not trained on, the first `floor` of which are looked up, too.
        judge: to look by its features as well, which sees all training images once: a minute.
        floor: test images for the floor.
        on_batch: hears how many training images the judge has seen.
    """
    dims = images[0].size
    pixels = train.images.flatten(1).numpy()
    held = test.images[:floor].flatten(1).numpy()
    flat = np.concatenate([images.reshape(len(images), -1), held])
    distance, index = nearest(flat, pixels)
    distance = distance / math.sqrt(dims)
    feature_distance = feature_index = None
    if judge is not None:
        extract = partial(_features, judge.network)
        real = features_of(extract, train.images, on_batch=on_batch)
        feature_distance, feature_index = nearest(judge.features(images), real)
    n = len(images)
    return Nearest(distance[:n], index[:n], feature_distance, feature_index, distance[n:])


def bits_per_dimension(
    checkpoint: ImageCheckpoint,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    probes: int = 1,
    draws: int = 1,
    tol: float = 1e-5,
    seed: int = 0,
    batch: int = 16,
    device: torch.device | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Bits:
    r"""Bits per dimension of images under the flow (Lipman et al. 2022, app. C).

    Each pixel of 0..255 is spread uniformly over its level, u in [0, 1)^d, and the density of the
    flow at t_max is taken there, its divergence estimated by Hutchinson's `probes`:

        -log2(1/K sum_k p((x + u_k - 1/2) / 127.5 - 1)) / d + log2(127.5)

    with K = `draws` (eq. 47). At t_max the path still holds a noise far below one level. With one
    draw the mean over images bounds the code length from above; more draws bring it nearer, but
    then the probes' errors, of which the sum favours the lucky ones, pull it down.

    Args:
        checkpoint: whose flow.
        images: (n, C, H, W) uint8.
        labels: the classes (n,), to ask for the density given the class; None for none.
        probes: random signs a draw; two or more give `probe_error`.
        draws: dequantisations an image.
        tol: of Dormand and Prince's method, relative and absolute.
        seed: of dequantisation and probes.
        batch: draws solved together, on whose states the steps depend.
        device: where; the checkpoint's own by default.
        should_stop: asked before each evaluation.
        on_batch: hears how many draws are done.
    """
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != checkpoint.shape:
        raise ValueError(
            f"images must be uint8 of shape (n, {', '.join(map(str, checkpoint.shape))}); got "
            f"{images.dtype} {tuple(images.shape)}."
        )
    if probes < 1 or draws < 1:
        raise ValueError(f"probes and draws must be 1 or more; got {probes} and {draws}.")
    generator = stream(seed, "dequantisation")
    wide = images.repeat_interleave(draws, dim=0).float()
    spread = wide + torch.rand(wide.shape, generator=generator) - 0.5
    x = spread / 127.5 - 1
    y = None if labels is None else labels.repeat_interleave(draws)
    path = checkpoint.field.path
    if device is not None:
        checkpoint.field.to(device)
    here = next(checkpoint.field.parameters()).device
    logs, errors, most = [], [], 0
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        field = field_of(checkpoint, None if y is None else y[part].to(here), 1.0)
        result = log_prob(
            field,
            x[part].to(here),
            t_max=path.t_max,
            tol=tol,
            log_prior=partial(normal_log_prob, std=path.scheduler.sigma_0),
            probe=draw_probes(x[part], probes, generator).to(here),
            should_stop=should_stop,
        )
        logs.append(result.log_prob.cpu().double())
        errors.append(None if result.error is None else result.error.cpu())
        most = max(most, result.nfe)
        if on_batch is not None:
            on_batch(min(start + batch, len(x)))
    dims = images[0].numel()
    unit = dims * math.log(2)
    each = torch.cat(logs).reshape(-1, draws)
    log_p = torch.logsumexp(each, dim=1) - math.log(draws)
    error = None
    if probes > 1:
        own = torch.cat(errors).double().reshape(-1, draws)
        weights = torch.softmax(each, dim=1)  # how much each draw moves the sum
        error = (weights * own).square().sum(dim=1).sqrt().numpy() / unit
    return Bits((-log_p / unit + math.log2(127.5)).numpy(), error, most)


def ways_of(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    tol: float = 1e-3,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[dict[str, Any], Straightness]:
    """The steps of Dormand and Prince's method for the config's images, and their straightness.

    The steps are {"tol", "n", "guidance", "nfe", "times", "rejected"}: where the accepted ones
    begin and, last, end, and start and length of those refused.
    """
    adaptive = replace(config, solver="dopri5", tol=tol)
    (part,) = sample(checkpoint, adaptive, batch=config.n, should_stop=should_stop)
    steps = {
        "tol": tol,
        "n": config.n,
        "guidance": config.guidance if config.classes else None,
        "nfe": part.nfe,
        "times": part.step_times.tolist(),
        "rejected": part.rejected.tolist(),
    }
    return steps, pixel_straightness(checkpoint, config, tol=tol, should_stop=should_stop)


def points_from(quality: Mapping[str, Any]) -> list[QualityPoint]:
    """The points that a checkpoint's stored quality has; damaged entries are left out."""
    points = []
    for entry in quality.get("points", []):
        try:
            point = QualityPoint(**entry | {"classes": tuple(entry.get("classes", ()))})
        except (TypeError, AttributeError):
            continue
        if point.solver in METHODS:
            points.append(point)
    return points


def merged(quality: Mapping[str, Any], points: Sequence[QualityPoint]) -> dict[str, Any]:
    """Stored quality with points added, those of the same key replaced, in order of NFE."""
    all_points = {point.key: point for point in [*points_from(quality), *points]}
    ordered = sorted(all_points.values(), key=lambda p: (p.solver, str(p.guidance), p.n, p.nfe))
    return dict(quality) | {"points": [asdict(point) for point in ordered]}


@torch.no_grad()
def _features(network: Classifier, images: Tensor) -> Tensor:
    x = ImageSet.to_unit(images).contiguous(memory_format=torch.channels_last)
    return network.features(x)


def _reference_file(name: str | Path) -> Path:
    return locate_images(name).with_suffix(".reference.npz")
