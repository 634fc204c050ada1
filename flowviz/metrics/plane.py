"""Metrics of samples in the plane."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import FRAME
from flowviz.distributions import Distribution
from flowviz.glossary import term
from flowviz.registry import Registry

BINS = 40
"""Bins of a histogram along each axis: 0.25 wide."""

ANGLES = 64
"""Number of directions of the sliced distance, evenly spaced over the half circle."""

PAIRS = 2**16
"""Number of pairs whose distances are computed at once: 0.5 MB, which stays in the cache. Most of
the time of larger parts is spent on getting their memory from the system."""

FAR = 1e9
"""A coordinate outside every bounded support."""


Compute = Callable[[Tensor, Tensor, Distribution | None], float]


@dataclass(frozen=True)
class Metric:
    """A metric of samples (n, 2), given reference data (m, 2) and the data's distribution.

    Smaller is better, down to the value between two samples of the data. It is deterministic.

    Attributes:
        label: name in tables and on axes.
        unit: of its values; "" if dimensionless.
        sentence: what it measures.
        compute: the function.
        needs: what it compares the samples with: reference "samples" or the "distribution".
        limit: number of rows used, the first of each set; None for all.
    """

    label: str
    unit: str
    sentence: str
    compute: Compute
    needs: Literal["samples", "distribution"] = "samples"
    limit: int | None = None

    @property
    def words(self) -> str:
        """The label within a sentence: "sliced W₂", but "W₂"."""
        return self.label[0].lower() + self.label[1:] if self.label[1].islower() else self.label

    def __call__(
        self, samples: Tensor, reference: Tensor, distribution: Distribution | None = None
    ) -> float:
        """The value for samples (n, 2) and reference data (m, 2), at most `limit` rows of each."""
        for name, x in (("samples", samples), ("reference", reference)):
            if x.ndim != 2 or x.shape[1] != 2 or not len(x):
                raise ValueError(f"{name} must have shape (n, 2), n > 0; got {tuple(x.shape)}.")
            if not x.isfinite().all():
                raise ValueError(f"{name} must be finite; got infinite values or NaN.")
        if self.needs == "distribution" and distribution is None:
            raise ValueError(f"{self.label} needs the distribution of the data; got None.")
        return self.compute(samples[: self.limit], reference[: self.limit], distribution)


METRICS: Registry[Metric] = Registry("metric")


def _texts_of_term(name: str) -> tuple[str, str, str]:
    """Label, unit and sentence of a metric that is a term of the glossary."""
    entry = term(name)
    return entry.term, entry.unit, entry.sentence


def _w2(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The W₂ of two sets (n, 2) and (m, 2), by POT's network simplex."""
    cost = torch.cdist(_float64(samples), _float64(reference)).square_().numpy()
    import ot  # nearly a third of what the app imports, for few of its pages

    squared = np.asarray(ot.emd2([], [], cost, numItermax=10_000_000, check_marginals=False))
    return math.sqrt(max(squared.item(), 0.0))


def _sliced_w2(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The sliced W₂ of the first n rows of two sets, n the smaller number."""
    n = min(len(samples), len(reference))
    first, second = (_float64(x[:n]).numpy() for x in (samples, reference))
    return sliced_w2(first, projections(second)).item()


def _energy(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo 2013), over all pairs of rows.

    Pairs of a row with itself are included, so that the value is at least 0, and 0 on equal sets.
    """
    x, y = _float64(samples), _float64(reference)

    def mean(a: Tensor, b: Tensor) -> float:
        return sum(part.sum().item() for part in _distances(a, b)) / (len(a) * len(b))

    return max(2 * mean(x, y) - mean(x, x) - mean(y, y), 0.0)


def _mmd(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The maximum mean discrepancy (Gretton et al. 2012), the biased estimate, at least 0."""
    x, y = _float64(samples), _float64(reference)

    def similarity(a: Tensor, b: Tensor) -> float:
        total = 0.0
        for part in _distances(a, b):
            kernel = part.square_().div_(-8).exp_()
            total += kernel.sum().item()
            for _ in range(3):
                total += kernel.square_().square_().sum().item()  # of half the width
        return total / (4 * len(a) * len(b))

    squared = similarity(x, x) + similarity(y, y) - 2 * similarity(x, y)
    return math.sqrt(max(squared, 0.0))


def _off_support(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The share of the samples that lie outside the support of the data."""
    assert distribution is not None  # checked by Metric
    return 1 - distribution.contains(samples).double().mean().item()


def _histogram_tv(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The total variation distance of two histograms over the frame and what lies outside it."""
    difference = _histogram(samples) - _histogram(reference)
    return float(np.abs(difference).sum() / 2)


def _histogram_kl(samples: Tensor, reference: Tensor, distribution: Distribution | None) -> float:
    """The Kullback-Leibler divergence of two histograms.

    Half a count is added to each bin (Jeffreys' prior), so that empty bins give finite values.
    """
    shares = []
    for x in (reference, samples):
        counts = _histogram(x) * len(x) + 0.5
        shares.append(counts / counts.sum())
    data, model = shares
    return max(float(np.sum(data * np.log(data / model))), 0.0)


def projections(points: NDArray) -> NDArray:
    """The sorted projections of points (..., n, 2) on ANGLES directions, (..., ANGLES, n)."""
    angles = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(points.dtype)
    projected = directions @ points.swapaxes(-1, -2)
    projected.sort(axis=-1)
    return projected


def sliced_w2(points: NDArray, reference: NDArray) -> NDArray[np.float64]:
    """The sliced W₂ of points (..., n, 2) to a reference, (...,).

    The root mean square over directions of the distance of sorted projections (Bonneel et al.
    2015).

    Args:
        points: one or several sets of n points.
        reference: the `projections` of n reference points, (ANGLES, n).
    """
    gaps = projections(points) - reference
    return np.sqrt(np.mean(np.square(gaps), axis=(-2, -1), dtype=np.float64))


def unbounded(distribution: Distribution) -> bool:
    """Whether the support is the whole plane."""
    return bool(distribution.contains(torch.full((1, 2), FAR)).all())


def _histogram(x: Tensor) -> NDArray[np.float64]:
    """The shares of the rows of x in each bin and, last, outside, shape (BINS^2 + 1,)."""
    edges = np.linspace(-FRAME, FRAME, BINS + 1)
    points = _float64(x).numpy()
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])
    shares = counts.ravel() / len(points)
    return np.append(shares, 1 - shares.sum())


def _distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """The distances of all rows of a (n, 2) to all rows of b (m, 2), in parts (k, m) of n."""
    return (torch.cdist(rows, b) for rows in a.split(max(1, PAIRS // len(b))))


def _float64(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)


# 2 s on one core: the network simplex takes ~ n^2.
METRICS["w2"] = Metric(*_texts_of_term("w2"), _w2, limit=4000)
METRICS["sliced-w2"] = Metric(*_texts_of_term("sliced-w2"), _sliced_w2)
METRICS["energy"] = Metric(*_texts_of_term("energy"), _energy, limit=4000)
METRICS["mmd"] = Metric(
    "Maximum mean discrepancy",
    "",
    "Distance of the mean features of Gaussian kernels of widths 0.25, 0.5, 1 and 2.",
    _mmd,
    limit=4000,
)
METRICS["off-support"] = Metric(
    "Share off the data",
    "",
    "Share of the samples where the data has density zero; 0 for unbounded data.",
    _off_support,
    needs="distribution",
)
METRICS["histogram-tv"] = Metric(
    "Histogram total variation",
    "",
    f"Half the summed difference of the {BINS} x {BINS} histograms; 1 where they do not overlap.",
    _histogram_tv,
)
METRICS["histogram-kl"] = Metric(
    "Histogram KL(data || samples)",
    "nats",
    f"Information lost when the {BINS} x {BINS} histogram of the samples replaces the data's.",
    _histogram_kl,
)
