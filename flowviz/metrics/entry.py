"""The class of metrics and their registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flowviz.distributions import Distribution
from flowviz.registry import Registry

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
