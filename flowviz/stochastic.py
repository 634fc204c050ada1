r"""Stochastic samplers with the marginals of the flow: noise that is taken out as it comes in.

The flow dx/dt = u_t(x) of a path has the densities p_t. With s = grad log p_t and any g_t, so has

    dx = (u_t(x) + g_t^2 / 2 s_t(x)) dt + g_t dW,

for the Fokker-Planck equation of the two differs by -div(g^2/2 s p) + g^2/2 laplace p, and
s p = grad p (Song et al. 2021, sec. 4.3 and appendix D.1, of which this is the reverse). How much
noise is a choice. Reversing the diffusion that makes the path's p_t from data makes one: with t
running from noise to data, x_t = alpha x_1 + sigma x_0 comes from the linear diffusion that, from
t back to t - dt, scales x by 1 - (d_alpha / alpha) dt and adds noise of variance g^2 dt with

    g^2 = 2 sigma^2 d log(alpha / sigma) / dt = 2 sigma^2 (d_alpha / alpha - d_sigma / sigma).

On VP that is beta(1 - t), hence Song's reverse diffusion, and on VE d(sigma^2)/d(1 - t). `rate` is
g^2 / (2 sigma^2), the speed at which the noise in x is renewed. Paths with alpha_0 = 0 would renew
it infinitely fast at t = 0; there d_alpha / alpha is held at RENEWAL, more than VP ever has, which
changes no marginal. A noise level eta stands before g: 0 is the flow, 1 the reverse diffusion.

The ancestral sampler steps from t to a later t' by predicting the data m and the noise e in x,

    x' = alpha' m + sqrt(sigma'^2 - v) e + sqrt(v) z,
    v = eta^2 sigma'^2 (1 - (lambda / lambda')^2),    lambda = alpha / sigma.

Given x_1 itself for m it has the right p_t' exactly, whatever v is. At eta = 1 it draws from the
diffusion's posterior of x' given x and x_1 = m, for x = (alpha / alpha') x' + noise of variance
sigma^2 - (alpha sigma' / alpha')^2, whence Var[x' | x, x_1] = sigma'^2 (1 - (lambda/lambda')^2):
DDPM's step on any affine path. At eta = 0 it is DDIM's.

References:
    Song et al. 2021, Score-Based Generative Modeling through SDEs,
    https://arxiv.org/abs/2011.13456
    Ho et al. 2020, DDPM, https://arxiv.org/abs/2006.11239
    Song et al. 2021, DDIM, eq. 12 and 16, https://arxiv.org/abs/2010.02502
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from flowviz.device import finest_float
from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.solvers import Counted, Field, Solution, SolveError

__all__ = ["SAMPLERS", "Sampler", "rate", "sample"]

RENEWAL = 12.0
"""The most that d_alpha / alpha counts for in the rate: VP's is largest at t = 0, 10."""


@dataclass(frozen=True)
class Sampler:
    """A stochastic sampler.

    Attributes:
        label: what menus and legends show.
        sentence: what it does.
        most: the largest noise level that it takes.
        step: the next states (B, *), of path, t, t_next, states x, their velocities u, the noise
            level and standard noise z.
    """

    label: str
    sentence: str
    most: float
    step: Callable[[AffinePath, Tensor, Tensor, Tensor, Tensor, float, Tensor], Tensor]


SAMPLERS: Registry[Sampler] = Registry("stochastic sampler")


def rate(path: AffinePath, t: Tensor) -> Tensor:
    """g^2 / (2 sigma^2) of the reverse diffusion at times t, of t's shape; a share per unit time.

    d log(alpha / sigma) / dt, with d_alpha / alpha held at RENEWAL or below.
    """
    c = path.scheduler(t)
    growth = torch.where(
        c.d_alpha < RENEWAL * c.alpha, c.d_alpha / c.alpha, torch.full_like(c.alpha, RENEWAL)
    )
    return growth - c.d_sigma / c.sigma


@torch.no_grad()
def sample(
    field: Field,
    path: AffinePath,
    x_0: Tensor,
    grid: Tensor,
    sampler: str,
    *,
    noise: float,
    generator: Generator,
    should_stop: Callable[[], bool] | None = None,
) -> Solution:
    """The states of x_0 (B, *) carried by a stochastic sampler over the steps of a grid.

    Each step evaluates the field once. With noise = 0 this is the flow, by Euler's method or by
    DDIM's.

    Args:
        field: the marginal velocity (t, x) -> (B, *), exact or learned, of this path.
        path: what relates velocity, score, noise and data.
        x_0: the states at grid[0], shape (B, *).
        grid: where the steps begin and end, (S + 1,), rising within [0, path.t_max].
        sampler: a name in SAMPLERS.
        noise: eta, the noise level, 0 to the sampler's `most`.
        generator: of the noise that is added; nothing is drawn if eta is 0.
        should_stop: asked before each evaluation; if it says yes, SolveCancelled is raised.

    Returns:
        a Solution whose states are those at the steps' times.

    Raises:
        ValueError: the arguments do not fit each other.
        SolveError: the solve diverged, or there are too many steps.
        SolveCancelled: should_stop said so.
    """
    entry = SAMPLERS[sampler]
    if not 0 <= noise <= entry.most:
        raise ValueError(
            f"The noise level of {entry.label} must be in 0..{entry.most:g}; got {noise}."
        )
    grid = grid.to(x_0.device, finest_float(x_0.device))
    if grid.ndim != 1 or len(grid) < 2 or not (grid.diff() > 0).all():
        raise ValueError(f"grid must be two or more rising times; got {grid.tolist()}.")
    if grid[0] < 0 or grid[-1] > path.t_max:
        raise ValueError(
            f"grid must lie within 0 and the path's last time {path.t_max:g}; "
            f"got {grid[0].item():g} to {grid[-1].item():g}."
        )
    counted = Counted(field, should_stop)
    x, states = x_0, [x_0]
    for k, (t, t_next) in enumerate(pairwise(grid)):
        u = counted(t, x)
        z = torch.zeros_like(x)
        if noise:
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x)
        x = entry.step(path, t, t_next, x, u, noise, z)
        if not x.isfinite().all():
            raise SolveError(
                f"{entry.label} diverged in step {k} of {len(grid) - 1}, at "
                f"t = {t.item():.6g}; take more steps or less noise.",
                t.item(),
            )
        states.append(x)
    steps = torch.stack(states)
    return Solution(grid, steps, counted.nfe, grid, steps, grid.new_empty((0, 2)))


def _euler_maruyama(
    path: AffinePath, t: Tensor, t_next: Tensor, x: Tensor, u: Tensor, noise: float, z: Tensor
) -> Tensor:
    """x + (u + g^2 / 2 s) dt + g sqrt(dt) z; without noise in a step that ends at t_max.

    Any g_t has the right marginals, also one that is 0 in the last step, in which nothing could
    take out again the noise that comes in.
    """
    dt = t_next - t
    if t_next >= path.t_max or not noise:
        return x + dt * u
    sigma = path.scheduler(t).sigma
    half = noise**2 * rate(path, t) * sigma**2  # g^2 / 2
    drift = u + half * path.score_from_velocity(t, x, u)
    return x + dt * drift + (2 * half * dt).sqrt() * z


def _ancestral(
    path: AffinePath, t: Tensor, t_next: Tensor, x: Tensor, u: Tensor, noise: float, z: Tensor
) -> Tensor:
    """alpha' m + sqrt(sigma'^2 - v) e + sqrt(v) z with the data m and the noise e in x."""
    now, after = path.scheduler(t), path.scheduler(t_next)
    left = (now.alpha * after.sigma / (now.sigma * after.alpha)) ** 2  # (lambda / lambda')^2
    v = noise**2 * after.sigma**2 * (1 - left)
    data, kept = path.data_from_velocity(t, x, u), path.noise_from_velocity(t, x, u)
    return after.alpha * data + (after.sigma**2 - v).clamp_min(0).sqrt() * kept + v.sqrt() * z


SAMPLERS["euler-maruyama"] = Sampler(
    "Euler-Maruyama",
    "Euler's step along the drift u + g²/2 s, and Gaussian noise of variance g² dt.",
    2.0,
    _euler_maruyama,
)
SAMPLERS["ancestral"] = Sampler(
    "ancestral (DDPM, DDIM)",
    "Predicts the data and the noise in a state and mixes them anew for the next time, a part of "
    "the noise freshly drawn: DDPM's step at noise level 1, DDIM's at 0.",
    1.0,
    _ancestral,
)
