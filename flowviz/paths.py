r"""The affine conditional path of a scheduler, and conversions between predictions.

Given noise x_0 ~ N(0, I) and data x_1, the conditional flow is x_t = alpha_t x_1 + sigma_t x_0.
Its velocity is what flow matching regresses on (Lipman et al. 2022, eq. 13-15). On one path the
marginal velocity u, score s, noise prediction E[x_0 | x_t] and data prediction E[x_1 | x_t]
determine each other:

    u = d_alpha m + d_sigma e,    x = alpha m + sigma e,    s = -e / sigma,

with m = E[x_1 | x_t = x] and e = E[x_0 | x_t = x].
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.bounds import shown
from flowviz.device import finest_float
from flowviz.schedulers import Coefficients, LearnedReference, Scheduler

T = TypeVar("T", float, Tensor, NDArray[np.float64])


@dataclass(frozen=True)
class AffinePath:
    """The affine path of a scheduler; x has shape (B, *) and t has shape () or (B,).

    Noise x_0 is standard normal; a scheduler with sigma_0 != 1 scales it, see `start`. With a
    source, x_0 is a sample of another data set in its place. Then scores do not follow from
    velocities, because -x_0 / sigma is the score of Gaussian noise only.

    Attributes:
        scheduler: the coefficients.
        source: spec of the data set at t = 0; "" for Gaussian noise.

    Raises:
        ValueError: there is a source, and the path does not start exactly at x_0.
    """

    scheduler: Scheduler
    source: str = ""

    def __post_init__(self) -> None:
        if not self.source:
            return
        first = self.scheduler(torch.zeros((), dtype=torch.float64, device="cpu"))
        exact = first.alpha == 0 and first.sigma == 1
        if not exact or isinstance(self.scheduler, LearnedReference):
            raise ValueError(
                "A path from a data set must start exactly there, with alpha = 0 and sigma = 1 at "
                f"t = 0; got {self.scheduler.label}: use the path ot, trig or shaped."
            )

    def refuse_source(self) -> None:
        """Checks that the path starts at Gaussian noise.

        Raises:
            ValueError: it starts at a data set.
        """
        if self.source:
            raise ValueError(
                "This computation needs Gaussian noise at t = 0; "
                f"got a path from {shown(self.source)}: choose a field that starts from noise."
            )

    @property
    def t_max(self) -> float:
        """The time at which the path stops, at most 1."""
        return self.scheduler.t_max

    def time(self, share: T) -> T:
        """The path time of a share in [0, 1], such as a slider's, of any shape: share * t_max."""
        return share * self.t_max

    def clock(self, count: int) -> Tensor:
        """`count` evenly spaced times from 0 to t_max, float64, (count,)."""
        return torch.linspace(0, self.t_max, count, dtype=torch.float64)

    def start(self, x_0: Tensor) -> Tensor:
        """The state at t = 0 of standard normal noise x_0: sigma_0 x_0, shape (B, *).

        This neglects alpha_0 x_1, which is 0 for OT, 0.0066 x_1 for VP and x_1 for VE.

        Raises:
            ValueError: the path starts at a data set.
        """
        self.refuse_source()
        return self.scheduler.sigma_0 * x_0

    def flow(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """The conditional flow psi_t(x_0 | x_1), shape (B, *). Lipman et al. 2022, eq. 11."""
        c = self.coefficients(t, x_1)
        return c.alpha * x_1 + c.sigma * x_0

    def target(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """The velocity of the conditional flow at psi_t(x_0 | x_1), shape (B, *). Eq. 13."""
        c = self.coefficients(t, x_1)
        return c.d_alpha * x_1 + c.d_sigma * x_0

    def velocity(self, t: Tensor, x: Tensor, x_1: Tensor) -> Tensor:
        """The conditional velocity u_t(x | x_1), shape (B, *). Lipman et al. 2022, theorem 3."""
        c = self.coefficients(t, x_1)
        return c.d_sigma / c.sigma * (x - c.alpha * x_1) + c.d_alpha * x_1

    def score(self, t: Tensor, x: Tensor, x_1: Tensor) -> Tensor:
        """The conditional score, the gradient of log p_t(x | x_1), shape (B, *)."""
        c = self.coefficients(t, x_1)
        return (c.alpha * x_1 - x) / c.sigma**2

    def velocity_from_noise(self, t: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        """The marginal velocity from E[x_0 | x_t = x]; alpha_t must not be 0.

        d_alpha x / alpha - D noise / alpha with D = d_alpha sigma - alpha d_sigma.
        """
        c = self.coefficients(t, x)
        return (c.d_alpha * x - c.wronskian * noise) / c.alpha

    def velocity_from_score(self, t: Tensor, x: Tensor, score: Tensor) -> Tensor:
        """The marginal velocity from the score of p_t (Lipman et al. 2022, eq. 46, true sign)."""
        c = self.coefficients(t, x)
        return self.velocity_from_noise(t, x, -c.sigma * score)

    def velocity_from_data(self, t: Tensor, x: Tensor, data: Tensor) -> Tensor:
        """The marginal velocity from E[x_1 | x_t = x]; sigma_t must not be 0."""
        c = self.coefficients(t, x)
        return (c.d_sigma * x + c.wronskian * data) / c.sigma

    def noise_from_velocity(self, t: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """E[x_0 | x_t = x] from the marginal velocity, shape (B, *)."""
        c = self.coefficients(t, x)
        return (c.d_alpha * x - c.alpha * velocity) / c.wronskian

    def score_from_velocity(self, t: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """The score of p_t from the marginal velocity, shape (B, *).

        Raises:
            ValueError: the path starts at a data set.
        """
        self.refuse_source()
        c = self.coefficients(t, x)
        return -self.noise_from_velocity(t, x, velocity) / c.sigma

    def data_from_velocity(self, t: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """E[x_1 | x_t = x] from the marginal velocity, shape (B, *)."""
        c = self.coefficients(t, x)
        return (c.sigma * velocity - c.d_sigma * x) / c.wronskian

    def coefficients(self, t: Tensor, x: Tensor) -> Coefficients:
        """The scheduler's coefficients at t, shaped to multiply x of shape (B, *)."""
        if t.shape not in ((), x.shape[:1]):
            raise ValueError(f"t must have shape () or ({len(x)},); got {tuple(t.shape)}.")
        t = t.to(finest_float(t.device))  # 1 - t is accurate near the end
        shape = t.shape + (1,) * (x.ndim - 1 if t.ndim else 0)
        return Coefficients(*(s.to(x).reshape(shape) for s in self.scheduler(t)))
