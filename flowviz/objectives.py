r"""Objectives: what a network predicts, the weight of its loss, and the conversion to a velocity.

On one path the three objectives are one regression with different weights and outputs (Lipman et
al. 2022, section 4 and appendix): a flow-matching network predicts the velocity d_alpha x_1 +
d_sigma x_0, a noise-matching network (DDPM) the noise x_0, a score-matching network the score -x_0
/ sigma, its loss weighted by sigma^2. Each predicted quantity is q_1 x_1 + q_0 x_0 with numbers
(q_1, q_0) that depend on t only; an objective is those two numbers, a weight and the conversion to
a velocity. A network that predicts the data x_1 has the loss of the velocity (Li and He 2025).

A weighting replaces the weight of an objective. It is stated for an error of the predicted data;
all predictions follow from each other at a given state, so that one error determines the others.

The objectives of a flow map (`flowviz.fields.flow_map`) are the flow objective where the two times
are equal. Where they differ, a row has the target of the network: the mean velocity between them.
A distillation has no such target: it compares jumps with the trajectories of a teacher, see
`flowviz.training.trajectories`.

References:
    Geng et al. 2025, Mean flows for one-step generative modeling, https://arxiv.org/abs/2505.13447
    Li and He 2025, Back to basics: let denoising generative models denoise,
        https://arxiv.org/abs/2511.13720
    Hang et al. 2023, Efficient diffusion training via min-SNR weighting strategy,
        https://arxiv.org/abs/2303.09556
    Frans et al. 2024, One step diffusion via shortcut models, https://arxiv.org/abs/2410.12557
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.schedulers import Coefficients

MIN_SIGMA = 0.05
"""Smallest sigma in the weight of the data objective, which is infinite where sigma is 0."""

SNR_LIMIT = 5.0
"""Largest weight of the weighting "min-snr"."""


@dataclass(frozen=True)
class JumpPair:
    """Pairs of times t <= s of a flow map in training, in its standard coordinates.

    There the state is z (B, *), of unit variance, and time is an angle, so that velocities are
    dz / d angle and a jump is z + (angle(s) - angle(t)) times the mean velocity.
    """

    t: Tensor
    """Start of the jump, (B,) float64."""
    s: Tensor
    """End of the jump, (B,) float64."""
    z: Tensor
    """States at t, (B, *)."""
    velocity: Tensor
    """Conditional velocity at t and z, (B, *)."""
    rate: Tensor
    """d angle / dt at t, (B,) float64."""
    angle: Callable[[Tensor], Tensor]
    """Times (B,) to angles that multiply z, (B, 1, ...)."""
    predict: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(t, s, z) to the network's mean velocity from t to s."""


@dataclass(frozen=True)
class Objective:
    """A regression target q = q_1 x_1 + q_0 x_0 on an affine path."""

    label: str
    """Name in menus and legends."""
    target: Callable[[Coefficients], tuple[Tensor, Tensor]]
    """Coefficients of the path to (q_1, q_0)."""
    weight: Callable[[Coefficients], Tensor]
    """Coefficients of the path to the weight of the squared error."""
    velocity: Callable[[AffinePath, Tensor, Tensor, Tensor], Tensor]
    """(path, t, x, E[q | x_t = x]) to the marginal velocity u_t(x)."""
    needs_alpha: bool = False
    """Whether the conversion divides by alpha_t, so that the path must not start at alpha = 0."""
    two_times: bool = False
    """Whether the network is a flow map, with a second time."""
    jump_target: Callable[[JumpPair], Tensor] | None = None
    """Of a flow map without a teacher: the target of its mean velocity, (B, *), without
    gradients."""
    own_jumps: bool = False
    """Whether `jump_target` is made of jumps of the network alone, without the velocity."""
    equal_share: float = 1.0
    """Share of pairs whose two times are equal."""
    sampler_share: float = 0.0
    """Share of pairs that are jumps of the samplers with few jumps."""


OBJECTIVES: Registry[Objective] = Registry("objective")

OBJECTIVES["flow"] = Objective(
    "flow matching",
    target=lambda c: (c.d_alpha, c.d_sigma),
    weight=lambda c: torch.ones_like(c.alpha),
    velocity=lambda path, t, x, velocity: velocity,
)
OBJECTIVES["noise"] = Objective(
    "noise matching",
    target=lambda c: (torch.zeros_like(c.alpha), torch.ones_like(c.alpha)),
    weight=lambda c: torch.ones_like(c.alpha),
    velocity=AffinePath.velocity_from_noise,
    needs_alpha=True,
)
OBJECTIVES["score"] = Objective(
    "score matching",
    target=lambda c: (torch.zeros_like(c.alpha), -1 / c.sigma),
    weight=lambda c: c.sigma**2,
    velocity=AffinePath.velocity_from_score,
    needs_alpha=True,
)
OBJECTIVES["data"] = Objective(
    "data prediction, velocity loss",
    target=lambda c: (torch.ones_like(c.alpha), torch.zeros_like(c.alpha)),
    weight=lambda c: (c.wronskian / c.sigma.clamp_min(MIN_SIGMA)) ** 2,
    velocity=AffinePath.velocity_from_data,
)


def _meanflow(pair: JumpPair) -> Tensor:
    """MeanFlow: velocity + (s - t) d/dt of the mean velocity along the trajectory (eq. 6)."""

    def mean_velocity(t: Tensor, z: Tensor) -> Tensor:
        return pair.predict(t, pair.s, z)

    tangents = 1 / pair.rate, pair.velocity
    slope = torch.func.jvp(mean_velocity, (pair.t, pair.z), tangents)[1]
    return pair.velocity + (pair.angle(pair.s) - pair.angle(pair.t)) * slope


def _shortcut(pair: JumpPair) -> Tensor:
    """Shortcut: the mean of two half jumps of the network itself (eq. 4)."""
    middle = (pair.t + pair.s) / 2
    angles = pair.angle(pair.t), pair.angle(middle), pair.angle(pair.s)
    first = (angles[1] - angles[0]) * pair.predict(pair.t, middle, pair.z)
    second = (angles[2] - angles[1]) * pair.predict(middle, pair.s, pair.z + first)
    gap = angles[2] - angles[0]
    return torch.where(gap > 0, (first + second) / torch.where(gap > 0, gap, 1), pair.velocity)


_MAP = replace(OBJECTIVES["flow"], two_times=True)
# A quarter of equal times, as for CIFAR-10 in Geng et al. 2025.
OBJECTIVES["meanflow"] = replace(
    _MAP, label="MeanFlow (flow map)", jump_target=_meanflow, equal_share=0.25
)
OBJECTIVES["shortcut"] = replace(
    _MAP,
    label="shortcut (flow map)",
    jump_target=_shortcut,
    own_jumps=True,
    equal_share=0.4,
    sampler_share=0.55,
)
OBJECTIVES["distillation"] = replace(
    _MAP, label="distillation (flow map)", equal_share=0.1, sampler_share=0.7
)


@dataclass(frozen=True)
class Weighting:
    """The weight of a squared error over time, whatever the network predicts."""

    label: str
    """Name in menus."""
    sentence: str
    """What it does, in one sentence."""
    of_data: Callable[[Coefficients], Tensor] | None
    """Coefficients of the path to the weight of a squared error of the predicted data; None for
    the weight of the objective itself."""


WEIGHTINGS: Registry[Weighting] = Registry("weighting")

WEIGHTINGS["objective"] = Weighting(
    "of the objective", "The weight that the objective has in its paper.", None
)
WEIGHTINGS["velocity"] = Weighting(
    "error of the velocity",
    "The loss of flow matching, whatever the network predicts.",
    lambda c: (c.wronskian / c.sigma) ** 2,
)
WEIGHTINGS["noise"] = Weighting(
    "error of the noise",
    "The loss of DDPM, whatever the network predicts.",
    lambda c: (c.alpha / c.sigma) ** 2,
)
WEIGHTINGS["data"] = Weighting(
    "error of the data",
    "All times count alike in the error of the predicted data.",
    lambda c: torch.ones_like(c.alpha),
)
WEIGHTINGS["min-snr"] = Weighting(
    "min-SNR",
    f"That of the noise, but at most {SNR_LIMIT:g} for an error of the data.",
    lambda c: ((c.alpha / c.sigma) ** 2).clamp_max(SNR_LIMIT),
)


def weighted(name: str, weighting: str = "objective") -> Objective:
    """The objective of a name with the weight of a weighting.

    With x_t fixed, an error d of q = q_1 x_1 + q_0 x_0 is one of sigma d / (q_1 sigma - q_0 alpha)
    of x_1.

    Raises:
        ValueError: a name is unknown, or the objective is that of a flow map, whose loss is not a
            squared error at one time.
    """
    objective, of_data = OBJECTIVES[name], WEIGHTINGS[weighting].of_data
    if of_data is None:
        return objective
    if objective.two_times:
        raise ValueError(
            f"weighting must be objective for a flow map; got {weighting!r} with {name!r}."
        )

    def weight(c: Coefficients) -> Tensor:
        q_1, q_0 = objective.target(c)
        return of_data(c) * (c.sigma / (q_1 * c.sigma - q_0 * c.alpha)) ** 2

    return replace(objective, weight=weight)
