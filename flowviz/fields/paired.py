r"""The exact marginal field of a finite set of pairs of noise and data, of any coupling.

A pair (x_0, x_1) moves along psi_t = alpha_t x_1 + sigma_t x_0 and is smoothed by a Gaussian:
p_t(x | pair) = N(psi_t, s^2 I) with the velocity psi'_t, as in Tong et al. 2023
(https://arxiv.org/abs/2302.00482). The marginal velocity of N equally likely pairs (Lipman et al.
2022, eq. 8, with pairs in the place of data) is

    u_t(x) = sum_i w_i psi'_t,i,    w_i proportional to exp(-|x - psi_t,i|^2 / (2 s^2)).

It is exact for the smoothed pairs, without training. As N grows and s falls it tends to the
field that a perfect network learns from the coupling. For s = 0 it is not defined away from the
pairs. Brownian bridges of diffusion g between the pairs add g^2 alpha_t sigma_t to s^2 =: v_t, and
v'_t / (2 v_t) (x - psi_t) to the velocity given a pair (Tong et al. 2023,
https://arxiv.org/abs/2307.03672, eq. 8).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz.couplings import Pairs
from flowviz.paths import AffinePath


@dataclass(frozen=True, eq=False)
class PairedField:
    """The marginal velocity field of pairs (N, D) on a path, called as field(t, x).

    Attributes:
        path: the path that joins each pair.
        pairs: noise and data.
        std: s, the standard deviation of the smoothing; positive.
        noise: g, the diffusion of the bridges between the pairs, 0 or more.

    Raises:
        ValueError: std is not positive, or the noise is negative.
    """

    path: AffinePath
    pairs: Pairs
    std: float = 0.15
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not (self.std > 0 and self.noise >= 0):
            raise ValueError(
                f"std must be positive and noise 0 or more; got {self.std} and {self.noise}."
            )

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The marginal velocity at t () and x (B, D), shape (B, D), in x's dtype."""
        x_0, x_1, x64 = self.pairs.x_0.double(), self.pairs.x_1.double(), x.double()
        centres, c = self.path.flow(t, x_0, x_1), self.path.coefficients(t, x64)
        bridge, slope = c.bridge(self.noise)
        variance = self.std**2 + bridge
        logits = (x64 @ centres.T - centres.square().sum(dim=1) / 2) / variance
        share = torch.softmax(logits, dim=1)
        velocity = share @ self.path.target(t, x_0, x_1)
        if self.noise:
            velocity = velocity + slope / variance * (x64 - share @ centres)
        return velocity.to(x)
