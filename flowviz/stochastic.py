r"""Stochastic samplers with the marginals of the flow.

The flow dx/dt = u_t(x) of a path has the densities p_t. With s = grad log p_t and any g_t, so does

    dx = (u_t(x) + g_t^2 / 2 s_t(x)) dt + g_t dW,

since their Fokker-Planck equations differ by -div(g^2/2 s p) + g^2/2 laplace p = 0, because
s p = grad p (Song et al. 2021, sec. 4.3 and appendix D.1, with reversed time). g_t is free. One
choice reverses the diffusion from data to noise with the densities p_t, which from t back to
t - dt scales x by 1 - (d_alpha / alpha) dt and adds noise of variance g^2 dt with

    g^2 = 2 sigma^2 d log(alpha / sigma) / dt = 2 sigma^2 (d_alpha / alpha - d_sigma / sigma).

This is beta(1 - t) on VP (Song's reverse diffusion) and d(sigma^2)/d(1 - t) on VE. `rate` is
g^2 / (2 sigma^2). It would be infinite at t = 0 on paths with alpha_0 = 0; there d_alpha / alpha
is clipped to RENEWAL, which changes no marginal. g is multiplied by the noise level eta: 0 is the
flow, 1 the reverse diffusion.

The ancestral sampler steps from t to a later t' by predicting the data m and the noise e in x,

    x' = alpha' m + sqrt(sigma'^2 - v) e + sqrt(v) z,
    v = eta^2 sigma'^2 (1 - (lambda / lambda')^2),    lambda = alpha / sigma.

If m is x_1 itself, x' has the density p_t' exactly for any v. At eta = 1 the step samples the
diffusion's posterior of x' given x and x_1 = m, since x = (alpha / alpha') x' + noise of variance
sigma^2 - (alpha sigma' / alpha')^2 and so Var[x' | x, x_1] = sigma'^2 (1 - (lambda/lambda')^2):
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

RENEWAL = 12.0
"""Upper bound of d_alpha / alpha in the rate; the maximum of VP is 10, at t = 0."""


@dataclass(frozen=True)
class Sampler:
    """A stochastic sampler.

    Attributes:
        label: name in menus and legends.
        sentence: description in one sentence.
        max_noise: largest noise level.
        step: maps path, t, t_next, states x, velocities u, the noise level and standard normal
            noise z to the next states (B, *).
    """

    label: str
    sentence: str
    max_noise: float
    step: Callable[[AffinePath, Tensor, Tensor, Tensor, Tensor, float, Tensor], Tensor]


SAMPLERS: Registry[Sampler] = Registry("stochastic sampler")


def rate(path: AffinePath, t: Tensor) -> Tensor:
    """g^2 / (2 sigma^2) of the reverse diffusion at times t, of t's shape, per unit time.

    This is d log(alpha / sigma) / dt, with d_alpha / alpha clipped to RENEWAL.
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
) -> Solution:
    """Solves from x_0 (B, *) with a stochastic sampler over the steps of a grid.

    Each step evaluates the field once. With noise = 0 this is Euler's method or DDIM.

    Args:
        field: the marginal velocity (t, x) -> (B, *), exact or learned, of this path.
        path: the path of the field.
        x_0: the states at grid[0], shape (B, *).
        grid: (S + 1,), increasing times of the steps within [0, path.t_max].
        sampler: a name in SAMPLERS.
        noise: eta, the noise level, 0 to the sampler's `max_noise`.
        generator: of the added noise; not used if eta is 0.

    Returns:
        a Solution with the states at the times of the grid.

    Raises:
        ValueError: the noise level or the grid is invalid.
        SolveError: the solve diverged, or there are too many steps.
        Stopped: a stop was requested, see `flowviz.progress`.
    """
    path.refuse_source()
    entry = SAMPLERS[sampler]
    if not 0 <= noise <= entry.max_noise:
        raise ValueError(
            f"The noise level of {entry.label} must be in 0..{entry.max_noise:g}; got {noise}."
        )

    def step(t: Tensor, t_next: Tensor, x: Tensor, u: Tensor, z: Tensor) -> Tensor:
        return entry.step(path, t, t_next, x, u, noise, z)

    noise_generator = generator if noise else None
    return _march(field, path, x_0, grid, step, noise_generator, entry.label)


@torch.no_grad()
def diffuse(
    drift: Field,
    diffusion: Callable[[Tensor], Tensor],
    path: AffinePath,
    x_0: Tensor,
    grid: Tensor,
    *,
    generator: Generator,
) -> Solution:
    """Solves dx = drift dt + diffusion dW by the Euler-Maruyama method, without noise at the end.

    Args:
        drift: (t, x) -> (B, *).
        diffusion: times () to the strength of the noise ().
        path: with the last time, t_max.
        x_0: the states at grid[0], shape (B, *).
        grid: (S + 1,), as in `sample`.
        generator: of the added noise.

    Raises:
        ValueError, SolveError: as `sample`.
    """

    def step(t: Tensor, t_next: Tensor, x: Tensor, u: Tensor, z: Tensor) -> Tensor:
        dt = t_next - t
        if t_next >= path.t_max:  # no later step would remove the noise
            return x + dt * u
        return x + dt * u + diffusion(t) * dt.sqrt() * z

    label = SAMPLERS["euler-maruyama"].label
    return _march(drift, path, x_0, grid, step, generator, label)


def _march(
    field: Field,
    path: AffinePath,
    x_0: Tensor,
    grid: Tensor,
    step: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor],
    generator: Generator | None,
    label: str,
) -> Solution:
    """All steps over a grid: `step` maps t, t_next, x, field(t, x) and noise to the next states.

    Without a generator the noise is 0.
    """
    grid = grid.to(x_0.device, finest_float(x_0.device))
    if grid.ndim != 1 or len(grid) < 2 or not (grid.diff() > 0).all():
        raise ValueError(f"grid must be two or more increasing times; got {grid.tolist()}.")
    if grid[0] < 0 or grid[-1] > path.t_max:
        raise ValueError(
            f"grid must lie in [0, {path.t_max:g}], up to the path's t_max; "
            f"got {grid[0].item():g} to {grid[-1].item():g}."
        )
    counted = Counted(field)
    x, states = x_0, [x_0]
    for k, (t, t_next) in enumerate(pairwise(grid)):
        u = counted(t, x)
        z = torch.zeros_like(x)
        if generator is not None:
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x)
        x = step(t, t_next, x, u, z)
        if not x.isfinite().all():
            raise SolveError(
                f"{label} diverged in step {k} of {len(grid) - 1}, at "
                f"t = {t.item():.6g}; use more steps or less noise.",
                t.item(),
            )
        states.append(x)
    steps = torch.stack(states)
    rejected = grid.new_empty((0, 2))
    return Solution(grid, steps, counted.nfe, grid, steps, rejected, len(grid) - 1)


def _euler_maruyama(
    path: AffinePath, t: Tensor, t_next: Tensor, x: Tensor, u: Tensor, noise: float, z: Tensor
) -> Tensor:
    """x + (u + g^2 / 2 s) dt + g sqrt(dt) z.

    g is 0 in the step that ends at t_max, since no later step would remove its noise.
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
    c, c_next = path.scheduler(t), path.scheduler(t_next)
    kept_share = (c.alpha * c_next.sigma / (c.sigma * c_next.alpha)) ** 2  # (lambda / lambda')^2
    v = noise**2 * c_next.sigma**2 * (1 - kept_share)
    data, noise_estimate = path.data_from_velocity(t, x, u), path.noise_from_velocity(t, x, u)
    return (
        c_next.alpha * data
        + (c_next.sigma**2 - v).clamp_min(0).sqrt() * noise_estimate
        + v.sqrt() * z
    )


SAMPLERS["euler-maruyama"] = Sampler(
    "Euler-Maruyama",
    "Euler's step along the drift u + g²/2 s, and Gaussian noise of variance g² dt.",
    2.0,
    _euler_maruyama,
)
SAMPLERS["ancestral"] = Sampler(
    "ancestral (DDPM, DDIM)",
    "Predicts data and noise and combines them for the next time, with a part of the noise "
    "newly drawn: DDPM's step at noise level 1, DDIM's at 0.",
    1.0,
    _ancestral,
)
