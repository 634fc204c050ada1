r"""Brownian bridges between the pairs of two data sets: their states, flow and diffusion.

A pair is joined by x_t = alpha_t x_1 + sigma_t x_0 + b_t z, b_t^2 = noise^2 alpha_t sigma_t, with
fresh noise z: on the path ot a Brownian bridge of diffusion `noise` (Tong et al. 2023, Simulation-
free Schroedinger bridges via score and flow matching, https://arxiv.org/abs/2307.03672, there with
pairs of entropic optimal transport). With D = d_alpha sigma - alpha d_sigma, which is 1 on ot, the
flow dx = u dt and the diffusion

    u = E[w | x] - b d_b score,    w = d_alpha x_1 + d_sigma x_0,
    dx = (u + g^2 / 2 score) dt + g dW,    g^2 = noise^2 D,

have the same marginals p_t. `flowviz.fields.sourced` has the exact field of independent pairs,
`LearnedBridge` is the field of two networks.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flowviz.fields.learned import LearnedField
from flowviz.fields.planned import BOUND
from flowviz.networks import MLP
from flowviz.paths import AffinePath
from flowviz.schedulers import Coefficients

NARROWEST = 0.15
"""Width of the narrowest scores that the network of the score has unit outputs for, in units of
the standard deviation of the data."""


class Bridges:
    """What depends on the path and the noise alone.

    Attributes:
        path: the path of the pairs.
        noise: the diffusion, 0 or more.
    """

    path: AffinePath
    noise: float

    def state(self, t: Tensor, x_0: Tensor, x_1: Tensor, z: Tensor) -> Tensor:
        """The state at t () or (B,) of pairs with standard normal z, each (B, 2)."""
        return self.path.flow(t, x_0, x_1) + self.blur(self.path.coefficients(t, x_1)) * z

    def diffusion(self, t: Tensor) -> Tensor:
        """g at times t, of t's shape."""
        return self.noise * self.path.scheduler(t).wronskian.sqrt()

    def blur(self, c: Coefficients) -> Tensor:
        """b_t, the standard deviation of the state of a pair."""
        return c.bridge(self.noise)[0].clamp(min=0).sqrt()


@dataclass(frozen=True)
class PairBridges(Bridges):
    """Bridges whose field is not needed."""

    path: AffinePath
    noise: float


class BridgeFlow(Bridges, ABC):
    """Bridges with their marginal velocity and score."""

    @abstractmethod
    def velocity_and_score(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """u and the gradient of log p_t at t () or (B,) and x (B, 2), each (B, 2)."""

    def drift(self, t: Tensor, x: Tensor) -> Tensor:
        """The drift u + g^2 / 2 score of the diffusion, (B, 2)."""
        velocity, score = self.velocity_and_score(t, x)
        wronskian = self.path.coefficients(t, velocity).wronskian
        return (velocity + self.noise**2 / 2 * wronskian * score).to(x)


class TwoMLPs(nn.Module):
    """A network of the velocity w and one of the score, of the same sizes."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        self.velocity, self.score = MLP(**sizes), MLP(**sizes)

    def forward(self, clock: Tensor, x: Tensor) -> Tensor:
        """The output of the network of the velocity, (B, 2)."""
        return self.velocity(clock, x)


class LearnedBridge(BridgeFlow, LearnedField):
    """The field of bridges learned by two networks, as in SF2M (Tong et al. 2023, eq. 9).

    Both are preconditioned: the network of w as in `LearnedField`, that of the score with

        score = -(x - m_t) / r_t^2 + F / sqrt(b_t^2 + (NARROWEST s)^2)

    for states of mean m_t and variance r_t^2. Called as field(t, x) it is the flow's velocity u.

    Args:
        arguments, options: of `LearnedField`; the network is a `TwoMLPs`.
        noise: the diffusion, positive.
        coupling: name of the coupling of the pairs that it was trained with.
    """

    network: TwoMLPs

    def __init__(
        self, *arguments: Any, noise: float, coupling: str = "independent", **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.noise, self.coupling = noise, coupling

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The velocity u at t () or (B,) and x (B, 2), (B, 2)."""
        return self.velocity_and_score(t, x)[0]

    def velocity_and_score(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `BridgeFlow.velocity_and_score`."""
        c = self.path.coefficients(t, x)
        score = self._score(c, t, x)
        return self._predict(c, t, x) - c.bridge(self.noise)[1] * score, score

    def score(self, t: Tensor, x: Tensor) -> Tensor:
        """The gradient of log p_t at t () or (B,) and x (B, 2), (B, 2)."""
        return self._score(self.path.coefficients(t, x), t, x)

    def _score(self, c: Coefficients, t: Tensor, x: Tensor) -> Tensor:
        _, _, spread, offset = self.linear(c, x)
        output = self.network.score(self.clock(t, c), offset / spread)
        width = torch.sqrt(self.blur(c) ** 2 + (NARROWEST * self.std) ** 2)
        return BOUND * torch.tanh(output / BOUND) / width - offset / spread**2

    def bridge_loss(self, t: Tensor, x_0: Tensor, x_1: Tensor, z: Tensor) -> Tensor:
        """The squared errors of w and of b score, averaged over dimensions and added, (B,).

        Given a pair, the score is -z / b.
        """
        x_t = self.state(t, x_0, x_1, z)
        c = self.path.coefficients(t, x_t)
        velocity = self._predict(c, t, x_t) - self.path.target(t, x_0, x_1)
        score = self.blur(c) * self._score(c, t, x_t) + z
        return (velocity.square() + score.square()).mean(dim=1)

    def linear(self, c: Coefficients, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in `LearnedField`, for states with the noise of the bridges."""
        slope, scale, narrow, offset = super().linear(c, x)
        spread = torch.sqrt(narrow**2 + self.blur(c) ** 2)
        determined = slope * narrow  # the part of w that x_t without noise determines
        scale = torch.sqrt(scale**2 + determined**2 * (1 - (narrow / spread) ** 2))
        return slope * (narrow / spread) ** 2, scale, spread, offset
