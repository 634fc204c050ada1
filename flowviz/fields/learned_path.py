r"""A learnable forward process and the flow that undoes it (neural flow diffusion).

Bartosh et al. 2024 (https://arxiv.org/abs/2404.12940) replace the fixed schedule that joins
noise to a data point by a network. Their time runs from data (0) to noise (1);
here, as everywhere in flowviz, t = 0 is noise and t = 1 is data. The forward process is Gaussian,

    x_t = F(x_0, t, x_1) = m(t, x_1) + s(t, x_1) x_0,    x_0 ~ N(0, I),
    m = alpha_t x_1 + S sum_k a_k(x_1) sin(k pi t) / k,
    log s = log sigma_t + sum_k b_k(x_1) sin(k pi t) / k,

about the conditional OT path with sigma_min = 0.01: S is the data's standard deviation, and a
network maps x_1 to the coefficients a and b. The sines vanish at both ends, so that noise at t = 0
and data at t = 1 are built in, and the derivative by t is exact. (The authors' notebook has
t (1 - t) times a network of time in place of the sines; this form is ours.) Then

    velocity  f(t, x | x_1) = d_m + d_s (x - m) / s,      score  g(t, x | x_1) = (m - x) / s^2.

A second network predicts x_1 as h(t, x), and the flow that generates samples follows
f(t, x | h(t, x)). Both are trained by one bound, without simulation. Between
times t and t + dt the process given x_1 and the model are diffusions of one strength nu(t),
learned too, with drifts f + nu^2/2 g at x_1 and at h(t, x). By Girsanov's theorem

    -log p(x_1) <= E int |f - f_h + nu^2/2 (g - g_h)|^2 / (2 nu^2) dt
                   + KL(N(m_0, s_0^2) || N(0, I)) + E[-log N(x_1; x_{t_max}, s_{t_max}^2)],

the last two being the prior and the reconstruction term. The form of the first one is confirmed by
the authors' notebook; the derivation here, the forms of prior and reconstruction, and the bound's
optimum in closed form for fixed paths (in the tests) are ours. It bounds the likelihood of the
diffusion; that of the flow, computed by `flowviz.densities.log_prob`, may be on either side of it.

A penalty on the curvature of generative trajectories makes them straight: the mean square of the
acceleration d/dt f_h(t, x_t) along the flow. That this is the authors' penalty (their NFDM-OT) is
recalled and not verified; here the total derivative is a difference quotient of second order along
the flow's tangent.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from flowviz.device import finest_float
from flowviz.fields.learned import LearnedField
from flowviz.networks import MLP, Bend
from flowviz.objectives import Objective
from flowviz.paths import AffinePath
from flowviz.schedulers import LEARNED, scheduler

DATA = Objective(
    "data prediction",
    target=lambda c: (torch.ones_like(c.alpha), torch.zeros_like(c.alpha)),
    weight=lambda c: torch.ones_like(c.alpha),
    velocity=AffinePath.velocity_from_data,
)
"""What the second network predicts. Not in OBJECTIVES, since the bound weights its loss."""

OBJECTIVE = "bound"
"""The objective of a learned path in checkpoint cards."""

MAX_BEND = 1.5
"""The largest coefficient of the log scale."""

STEP = 3e-4
"""Step of the acceleration's difference quotient. Errors on the shipped fields, compared with
automatic differentiation: 0.4% truncation and 1.2% float32 rounding; in the last hundredth of
the time 1.2% and 3.4%. With a step of 0.01, networks learned to bend between the points, and the
quotient missed 60% or more of the acceleration."""

AT_ONCE = 200
"""Batch size of points whose density is a sum over all data."""

COSINES = 6
"""Number of cosines of time in the logarithm of the diffusion's strength."""


class Conditional(NamedTuple):
    """The Gaussian p_t(x | x_1) and its change in time, each (B, D)."""

    mean: Tensor
    scale: Tensor
    d_mean: Tensor
    d_scale: Tensor

    def velocity(self, x: Tensor) -> Tensor:
        """f(t, x | x_1), shape (B, D)."""
        return self.d_mean + self.d_scale / self.scale * (x - self.mean)

    def score(self, x: Tensor) -> Tensor:
        """The gradient of log p_t(x | x_1) by x, shape (B, D)."""
        return (self.mean - x) / self.scale**2


class ForwardProcess(nn.Module):
    """The learnable map F from noise x_0 (B, D) to data x_1 (B, D); t has shape () or (B,).

    Args:
        network: maps x_1, centred and scaled, to the coefficients a and b, each (B, K, D); None
            for the reference path itself.
        path: the reference path, which has the same ends.
        mean: the mean of the data, (D,).
        std: the standard deviation of the data, one number for all dimensions.
    """

    mean: Tensor

    def __init__(
        self, network: Bend | None, path: AffinePath, *, mean: Tensor, std: float
    ) -> None:
        super().__init__()
        self.network = network
        self.path = path
        self.register_buffer("mean", mean, persistent=False)
        self.std = std

    def conditional(self, t: Tensor, x_1: Tensor) -> Conditional:
        """The Gaussian of x_t given x_1 and its change in time."""
        c = self.path.coefficients(t, x_1)
        mean, d_mean = c.alpha * x_1, c.d_alpha * x_1
        log_scale, d_log_scale = torch.log(c.sigma), c.d_sigma / c.sigma
        if self.network is not None:
            a, b = self.network((x_1 - self.mean) / self.std)
            b = MAX_BEND * torch.tanh(b / MAX_BEND)
            order = _in_float64(torch.arange(1, a.shape[1] + 1, device=a.device))
            rate = math.pi / self.path.t_max
            angles = rate * order * _in_float64(t)[..., None]  # (K,) or (B, K)
            sines = (torch.sin(angles) / order).to(a)[..., None]
            cosines = (rate * torch.cos(angles)).to(a)[..., None]
            mean = mean + self.std * (a * sines).sum(dim=1)
            d_mean = d_mean + self.std * (a * cosines).sum(dim=1)
            log_scale = log_scale + (b * sines).sum(dim=1)
            d_log_scale = d_log_scale + (b * cosines).sum(dim=1)
        scale = torch.exp(log_scale).expand_as(mean)
        return Conditional(mean, scale, d_mean, d_log_scale * scale)

    def flow(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """F(x_0, t, x_1), shape (B, D)."""
        conditional = self.conditional(t, x_1)
        return conditional.mean + conditional.scale * x_0

    def target(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Tensor:
        """The derivative of F by t, shape (B, D)."""
        conditional = self.conditional(t, x_1)
        return conditional.d_mean + conditional.d_scale * x_0

    def noise(self, t: Tensor, x: Tensor, x_1: Tensor) -> Tensor:
        """The x_0 with F(x_0, t, x_1) = x, shape (B, D)."""
        conditional = self.conditional(t, x_1)
        return (x - conditional.mean) / conditional.scale

    def velocity(self, t: Tensor, x: Tensor, x_1: Tensor) -> Tensor:
        """f(t, x | x_1), shape (B, D): the velocity of the trajectory through x at t."""
        return self.conditional(t, x_1).velocity(x)

    def score(self, t: Tensor, x: Tensor, x_1: Tensor) -> Tensor:
        """The gradient of log p_t(x | x_1) by x, shape (B, D)."""
        return self.conditional(t, x_1).score(x)

    @torch.no_grad()
    def density_grid(
        self, t: Tensor, x_1: Tensor, xs: Tensor, ys: Tensor, *, blur: float = 0.0
    ) -> Tensor:
        """The density of x_t on the grid xs (nx,) by ys (ny,) of the plane, shape (ny, nx).

        It is the mean of p_t(x | x_1) over data x_1 (B, 2), a sample of the distribution;
        each is blurred by a Gaussian of standard deviation `blur`, that few may do near t = 1.
        """
        conditional = self.conditional(t, x_1)
        scale = torch.sqrt(conditional.scale**2 + blur**2)
        densities = []
        for axis, grid in enumerate((xs, ys)):
            z = (grid.to(x_1)[:, None] - conditional.mean[:, axis]) / scale[:, axis]
            densities.append(
                torch.exp(-z.square() / 2) / (scale[:, axis] * math.sqrt(2 * math.pi))
            )
        return densities[1] @ densities[0].T / len(x_1)

    @torch.no_grad()
    def log_density(self, t: Tensor, x: Tensor, x_1: Tensor) -> tuple[Tensor, Tensor]:
        """log p_t in nats at t () and x (B, D), and its standard error, each (B,) float64.

        p_t is the mean of p_t(x | x_1) over data x_1 (M, D), a sample of the distribution.
        The logarithm of a mean of M is too low by half its variance to first order, which is
        added. Where few of the data reach x, as near t = 1, the error tends to 1.
        """
        conditional = self.conditional(t, x_1)
        mean, scale = conditional.mean.double(), conditional.scale.double()
        offset = -(mean / scale).square().sum(dim=1) / 2 - torch.log(scale).sum(dim=1)
        offset = offset - x.shape[1] * math.log(2 * math.pi) / 2 - math.log(len(x_1))
        slopes = torch.cat([-0.5 / scale**2, mean / scale**2], dim=1).T
        parts = []
        for some in x.double().split(AT_ONCE):
            logits = torch.addmm(offset, torch.cat([some.square(), some], dim=1), slopes)
            top = logits.amax(dim=1, keepdim=True)
            weights = torch.exp(logits - top)
            total = weights.sum(dim=1)
            variance = weights.square().sum(dim=1) / total**2 - 1 / len(x_1)
            error = variance.clamp_min(0).sqrt()
            parts.append(torch.stack([top[:, 0] + torch.log(total) + variance / 2, error]))
        log_density, error = torch.cat(parts, dim=1)
        return log_density, error


@dataclass(frozen=True)
class Bound:
    """The bound's parts at one draw of times and noise for each data point, in nats, each (B,).

    Attributes:
        diffusion: the integrand at the drawn time, to be weighted by one over its density.
        prior: KL of p_0(x | x_1) to the noise.
        reconstruction: -log N(x_1; x_{t_max}, s_{t_max}^2) in expectation.
        velocity: f_h at the drawn state, (B, D).
        state: the drawn state, (B, D).
    """

    diffusion: Tensor
    prior: Tensor
    reconstruction: Tensor
    velocity: Tensor
    state: Tensor


class LearnedPathField(nn.Module):
    """The velocity field f(t, x | h(t, x)) of a learned path, called as field(t, x).

    Args:
        forward_process: the learnable map from noise to data.
        network: predicts the data at (clock, x), see `LearnedField`.
    """

    def __init__(self, forward_process: ForwardProcess, network: nn.Module) -> None:
        super().__init__()
        self.forward_process = forward_process
        self.reverse = LearnedField(
            network,
            forward_process.path,
            DATA,
            mean=forward_process.mean,
            std=forward_process.std,
        )
        self.strength = nn.Parameter(torch.zeros(COSINES))
        self.std = forward_process.std

    @property
    def path(self) -> AffinePath:
        """The reference path, which has the same ends, clock and t_max."""
        return self.forward_process.path

    @property
    def objective(self) -> Objective:
        """What the network predicts."""
        return DATA

    def predict(self, t: Tensor, x: Tensor) -> Tensor:
        """h(t, x), the data predicted from x at t of shape () or (B,), shape (B, D)."""
        return self.reverse.predict(t, x)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The velocity at t of shape () or (B,) and x (B, D), shape (B, D)."""
        return self.forward_process.velocity(t, x, self.predict(t, x))

    def variance(self, t: Tensor, x: Tensor) -> Tensor:
        """nu(t)^2, the diffusion's rate, shaped to multiply x.

        The initial value 2 sigma (d_alpha sigma - alpha d_sigma) / alpha minimises the bound of
        the reference path; 0.01 is added to alpha.
        """
        c = self.path.coefficients(t, x)
        initial = 2 * c.sigma * c.wronskian / (c.alpha + 0.01)
        order = _in_float64(torch.arange(COSINES, device=x.device))
        angles = math.pi / self.path.t_max * order * _in_float64(t)[..., None]
        exponent = (torch.cos(angles).to(x) * self.strength.to(x)).sum(dim=-1)
        return initial * torch.exp(exponent).reshape(c.alpha.shape)

    def bound(self, t: Tensor, x_0: Tensor, x_1: Tensor) -> Bound:
        """The parts of the bound for data x_1 (B, D) at times t (B,) and noise x_0 (B, D)."""
        conditional = self.forward_process.conditional(t, x_1)
        x = conditional.mean + conditional.scale * x_0
        predicted = self.forward_process.conditional(t, self.predict(t, x))
        variance = self.variance(t, x)
        velocity = predicted.velocity(x)
        gap = conditional.velocity(x) - velocity
        gap = gap + variance / 2 * (conditional.score(x) - predicted.score(x))
        diffusion = (gap.square() / (2 * variance)).sum(dim=1)
        first, last = (
            self.path.coefficients(x.new_tensor(end), x_1) for end in (0.0, self.path.t_max)
        )
        dim = x.shape[1]
        prior = (
            (first.alpha * x_1).square().sum(dim=1)
            + dim * (first.sigma**2 - 1 - torch.log(first.sigma**2))
        ) / 2
        gap_to_data = ((1 - last.alpha) * x_1 / last.sigma).square().sum(dim=1)
        reconstruction = (
            dim * (math.log(2 * math.pi) + 1) / 2 + dim * torch.log(last.sigma) + gap_to_data / 2
        )
        return Bound(diffusion, prior, reconstruction, velocity, x)

    def acceleration(self, t: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """d/dt of the velocity along the flow at t (B,) and x (B, D), shape (B, D).

        A difference quotient of second order, from three points of the tangent x + s velocity,
        STEP apart and one-sided near the ends of the path. `velocity` is that of this field at t.
        (Forward differentiation is exact, but made a training step three times as slow.)
        """
        step = torch.full_like(t, STEP)
        early, late = t < step, t > self.path.t_max - step
        first = torch.where(early, step, torch.where(late, -2 * step, -step))
        last = torch.where(early, 2 * step, torch.where(late, -step, step))
        offsets = torch.cat([first, last])
        points = torch.cat([x, x]) + offsets.to(x)[:, None] * torch.cat([velocity, velocity])
        changes = self(torch.cat([t, t]) + offsets, points) - torch.cat([velocity, velocity])
        # The slope at 0 of the parabola through 0, `first` and `last`.
        coefficients = torch.cat(
            [last / (first * (last - first)), first / (last * (first - last))]
        )
        return torch.stack((coefficients.to(x)[:, None] * changes).chunk(2)).sum(dim=0)


def build_learned_path(
    network: dict[str, Any], mean: Tensor, std: float, generator: Generator | None = None
) -> LearnedPathField:
    """The untrained field for data of a mean (2,) and a standard deviation.

    Its path is the reference path, since the untrained network `Bend` returns zeros.
    """
    bend = Bend(
        sines=network["sines"],
        width=network["bend_width"],
        depth=network["bend_depth"],
        generator=generator,
    )
    process = ForwardProcess(bend, AffinePath(scheduler(LEARNED)), mean=mean, std=std)
    sizes = {name: network[name] for name in ("width", "depth", "octaves")}
    return LearnedPathField(process, MLP(**sizes, generator=generator))


def _in_float64(times: Tensor) -> Tensor:
    """In float64 if the device has it, so that the sines vanish at the ends of the path."""
    return times.to(finest_float(times.device))
