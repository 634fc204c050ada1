r"""Learned velocity fields: a network, its path and its objective.

A preconditioned field writes the predicted quantity q = q_1 x_1 + q_0 x_0 as its best linear
prediction from x_t plus a remainder of unit scale that the network learns,

    q(t, x) = A_t (x - alpha_t m) + q_1 m + B_t F(t, (x - alpha_t m) / r_t),
    A_t = (q_1 alpha_t s^2 + q_0 sigma_t) / r_t^2,    B_t = |q_1 sigma_t - q_0 alpha_t| s / r_t,
    r_t^2 = alpha_t^2 s^2 + sigma_t^2,

for data of mean m and standard deviation s. If x_0 comes from a data set of mean m_0 and standard
deviation s_0, x is replaced by x - sigma_t m_0, q_0 m_0 is added, A_t has q_0 sigma_t s_0^2, B_t
has the factor s_0, and r_t has sigma_t s_0. A hyperbolic tangent keeps F within +-6: without it,
one particle in 20,000 diverged on the checkerboard, in a region without training data. This is
the preconditioning of Karras et al. 2022 (https://arxiv.org/abs/2206.00364, section 5), here
derived for every affine path and objective. A plain field lets the network predict q itself, as
Lipman et al. 2022 do.
"""

import math

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack

from flowviz.fields.planned import BOUND, Planned
from flowviz.networks import MLP
from flowviz.objectives import Objective
from flowviz.paths import AffinePath
from flowviz.schedulers import SIGMA_STOP, Coefficients

MIN_SINGLE = 1024
"""States for which even a single evaluation is faster by a plan, which takes 0.3 ms to make."""


class LearnedField(nn.Module):
    """The velocity field v_t(x) of a network, with the call (t, x) of an exact field.

    Args:
        network: maps (clock, x), or (clock, x, y) with classes y (B,), to x's shape; clock is (2,)
            or (B, 2), see `clock`.
        path: the path of the training.
        objective: what the network predicts.
        mean: m, the mean of the data, of a shape that broadcasts with x.
        std: s, the standard deviation of the data, one number for all dimensions.
        preconditioned: whether the network predicts the remainder or the whole.
        clocked: whether the network gets the time as `clock` or as t itself.
        source_mean: m_0, the mean of a source, like `mean`; None for Gaussian noise.
        source_std: s_0, its standard deviation.
    """

    mean: Tensor
    source_mean: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        path: AffinePath,
        objective: Objective,
        *,
        mean: Tensor,
        std: float,
        preconditioned: bool = True,
        clocked: bool = True,
        source_mean: Tensor | None = None,
        source_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.path = path
        self.objective = objective
        self.register_buffer("mean", mean, persistent=False)
        self.std = std
        self.preconditioned = preconditioned
        self.clocked = clocked
        self.register_buffer("source_mean", source_mean, persistent=False)
        self.source_std = source_std

    @property
    def num_classes(self) -> int:
        """The number of classes of a class-conditional network."""
        count = self.network.num_classes
        assert isinstance(count, int)
        return count

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The velocity at t of shape () or (B,) and x of shape (B, *), shape (B, *).

        y, shape (B,), are the classes of a class-conditional network.
        """
        single = y is None and not t.ndim and len(x) >= MIN_SINGLE
        planned = self.planned(t[None], x) if single else None
        if planned is not None:
            return planned(t, x)
        return self.objective.velocity(self.path, t, x, self.predict(t, x, y))

    def velocity_and_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The velocity (B, D) and its divergence (B,), together, at t () and x (B, D).

        None if they cannot be computed faster than by automatic differentiation.
        """
        with torch.no_grad():
            planned = None if t.ndim else self.planned(t[None], x)
            return None if planned is None else planned.velocity_and_divergence(t, x)

    def planned(self, times: Tensor, x: Tensor) -> Planned | None:
        """The field at times (T,), prepared for states like x (B, D); the weights must not change.

        None where this has no effect: with gradients, off the CPU, of networks of images.
        """
        network = self.network
        if not isinstance(network, MLP) or not self.clocked or x.ndim != 2:
            return None
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return None
        # Within torch.func's jvp, vmap, ...; the stub of PyTorch leaves out None.
        transformed = bool(peek_interpreter_stack())
        if x.dtype != network.head.weight.dtype or transformed:
            return None
        return Planned(self, network, times, x.dtype)

    def predict(self, t: Tensor, x: Tensor, y: Tensor | None = None, *, share: int = 1) -> Tensor:
        """The predicted quantity E[q | x_t = x], given y or not, shape (B, *).

        With `share` above 1, t (B,) has that many equal times in succession, which an MLP embeds
        once.
        """
        return self._predict(self.path.coefficients(t, x), t, x, y, share=share)

    def _predict(
        self, c: Coefficients, t: Tensor, x: Tensor, y: Tensor | None = None, *, share: int = 1
    ) -> Tensor:
        """As `predict`, with the coefficients of the path at t."""
        time = self.clock(t, c) if self.clocked else t.to(x)
        if share > 1:
            time = time[::share]
        classes = () if y is None else (y,)
        if not self.preconditioned:
            return self.network(time, x, *classes)
        slope, scale, spread, offset = self.linear(c, x)
        output = self.network(time, offset / spread, *classes)
        remainder = BOUND * torch.tanh(output / BOUND)
        return slope * offset + self.centre(c) + scale * remainder

    def centre(self, c: Coefficients) -> Tensor:
        """The mean of q at a time, q_1 m + q_0 m_0."""
        q_1, q_0 = self.objective.target(c)
        centre = q_1 * self.mean
        return centre if self.source_mean is None else centre + q_0 * self.source_mean

    def linear(self, c: Coefficients, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A_t, B_t, r_t and the deviation of x_t from its mean of a preconditioned field."""
        q_1, q_0 = self.objective.target(c)
        source_std = self.source_std
        spread = torch.sqrt((c.alpha * self.std) ** 2 + (c.sigma * source_std) ** 2)
        slope = (q_1 * c.alpha * self.std**2 + q_0 * c.sigma * source_std**2) / spread**2
        scale = (q_1 * c.sigma - q_0 * c.alpha).abs() * self.std * source_std / spread
        offset = x - c.alpha * self.mean
        if self.source_mean is not None:
            offset = offset - c.sigma * self.source_mean
        return slope, scale, spread, offset

    def clock(self, t: Tensor, c: Coefficients) -> Tensor:
        """t and log sigma_t, each scaled to about [-1, 1], shape (2,) or (B, 2)."""
        level = torch.log(c.sigma).reshape(t.shape) / math.log(SIGMA_STOP)
        return torch.stack([2 * t.to(level) - 1, 2 * level - 1], dim=-1)

    def loss(
        self,
        t: Tensor,
        x_0: Tensor,
        x_1: Tensor,
        y: Tensor | None = None,
        *,
        share: int = 1,
        means: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The weighted squared error of each pair, averaged over dimensions, shape (B,).

        For flow matching this is the conditional loss of Lipman et al. 2022, eq. 14, over D.

        Args:
            t: times, (B,).
            x_0: noise, (B, *).
            x_1: data, (B, *).
            y: classes, (B,).
            share: see `predict`.
            means: posterior means of x_0 and x_1 at the states, each (B, *), with which the
                prediction is compared instead. The squared distance of the pairs from them is
                added, which has no gradient, so that the loss has the same expectation.
        """
        x_t = self.path.flow(t, x_0, x_1)
        c = self.path.coefficients(t, x_t)
        q_1, q_0 = self.objective.target(c)
        mean_0, mean_1 = means or (x_0, x_1)
        error = self._predict(c, t, x_t, y, share=share) - (q_1 * mean_1 + q_0 * mean_0)
        square = error.square()
        if means is not None:
            square = square + (q_1 * (x_1 - mean_1) + q_0 * (x_0 - mean_0)).square()
        return (self.objective.weight(c) * square).flatten(1).mean(dim=1)
