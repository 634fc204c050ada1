r"""Objectives: what a network predicts, the weight of its loss, and the conversion to a velocity.

On one path the three objectives are one regression with different weights and outputs (Lipman et
al. 2022, section 4 and appendix): a flow-matching network predicts the velocity d_alpha x_1 +
d_sigma x_0, a noise-matching network (DDPM) the noise x_0, a score-matching network the score -x_0
/ sigma, its loss weighted by sigma^2. Each predicted quantity is q_1 x_1 + q_0 x_0 with numbers
(q_1, q_0) that depend on t only; an objective is those two numbers, a weight and the conversion to
a velocity.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.schedulers import Coefficients


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
