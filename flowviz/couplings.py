"""Couplings: which noise is paired with which data point in a training batch.

The coupling is not the path: conditional OT is how one pair is joined, minibatch OT
which pairs are joined.

References:
    Tong et al. 2023, Improving and generalizing flow-based generative models with minibatch
    optimal transport, https://arxiv.org/abs/2302.00482
    Pooladian et al. 2023, Multisample flow matching, https://arxiv.org/abs/2304.14772
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from flowviz.registry import Registry

Coupling = Callable[[Tensor, Tensor], Tensor]
"""Noise x_0 and data x_1, both (B, *), to the data reordered so that row i belongs to x_0[i]."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """A coupling given by its pairs: noise x_0 (N, *) and its data x_1 (N, *)."""

    x_0: Tensor
    x_1: Tensor

    def __post_init__(self) -> None:
        if self.x_0.shape != self.x_1.shape or not len(self.x_0):
            raise ValueError(
                "Pairs need noise and data of the same shape (N, *), N > 0; "
                f"got {tuple(self.x_0.shape)} and {tuple(self.x_1.shape)}."
            )

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """n pairs drawn with replacement, x_0 and x_1, each (n, *)."""
        chosen = torch.randint(len(self.x_0), (n,), generator=generator)
        return self.x_0[chosen], self.x_1[chosen]


COUPLINGS: Registry[Coupling] = Registry("coupling")


@COUPLINGS.register("independent")
def independent(x_0: Tensor, x_1: Tensor) -> Tensor:
    """Independent pairs: the data in its given order."""
    return x_1


@COUPLINGS.register("minibatch-ot")
def minibatch_ot(x_0: Tensor, x_1: Tensor) -> Tensor:
    """The pairs of minimal total squared distance within the batch, by POT's network simplex.

    With equal weights an optimal plan is a permutation (Birkhoff); nothing is resampled.
    """
    cost = torch.cdist(x_0.flatten(1).double(), x_1.flatten(1).double()).square()
    import ot  # nearly a third of what the app imports, for few of its pages

    plan = ot.emd([], [], cost.cpu().numpy(), numItermax=1_000_000)
    return x_1[torch.as_tensor(plan.argmax(axis=1), device=x_1.device)]
