"""How the times of a training batch are drawn.

Each distribution of TIMES maps strata u in [0, 1), see `stratified`, to times of a path. None of
them changes the optimal field, since the loss is not divided by their density: they weigh times.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from flowviz.grids import GRIDS, SHIFT
from flowviz.paths import AffinePath
from flowviz.registry import Registry
from flowviz.roots import bisect

Draw = Callable[[Tensor, AffinePath, float], Tensor]
"""Ascending strata u (n,), a path and the data's standard deviation to times (n,)."""

LEVEL_SPREAD = 1.2
"""Standard deviation of log(noise / data) under `level` times, as in EDM."""

UNIFORM_SHARE = 0.1
"""Share of `level` times that are uniform, so that a field is trained up to both ends of time."""


def stratified(n: int, generator: Generator) -> Tensor:
    """n numbers in [0, 1), one in each n-th part, ascending, shape (n,), float64."""
    return (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n


def uniform_times(u: Tensor, path: AffinePath, std: float) -> Tensor:
    """Times uniform on [0, t_max] (Lipman et al. 2022), for u uniform on [0, 1)."""
    return u * path.t_max


def level_times(u: Tensor, path: AffinePath, std: float) -> Tensor:
    """Times with a log-normal ratio of noise to data, for u ascending on [0, 1).

    The ratio sigma_t / (alpha_t std), with the data's standard deviation `std`, is log-normal
    around 1. On the OT path t is then logit-normal (Esser et al. 2024,
    https://arxiv.org/abs/2403.03206); on any other path it is the time of the same ratio, so that
    all paths train equally on each noise level. A tenth of the times is uniform. The loss is not
    divided by the density of these times: this weighs noise levels but does not change the optimal
    field.
    """
    n_uniform = round(UNIFORM_SHARE * len(u))
    ranks = torch.arange(len(u))
    # Every tenth stratum, stretched over all of time; the others share the levels between them.
    chosen = (ranks + 1) * n_uniform // len(u) > ranks * n_uniform // len(u)
    parts = u * len(u) - ranks  # position of u within its stratum
    t = torch.empty_like(u)
    t[chosen] = (torch.arange(n_uniform) + parts[chosen]) / max(1, n_uniform) * path.t_max
    n_level = len(u) - n_uniform
    # From the highest noise level down, so that t ascends.
    share = 1 - (torch.arange(n_level) + parts[~chosen]) / max(1, n_level)
    log_ratios = math.log(std) + LEVEL_SPREAD * torch.special.ndtri(share.clamp(1e-12, 1 - 1e-12))

    def is_noisier(t: Tensor) -> Tensor:  # the ratio falls with t on every path
        c = path.scheduler(t)
        return torch.log(c.sigma) - torch.log(c.alpha) > log_ratios

    ends = torch.zeros_like(log_ratios), torch.full_like(log_ratios, path.t_max)
    t[~chosen] = bisect(is_noisier, *ends)
    return t


def logit_normal_times(mean: float, spread: float) -> Draw:
    """Times whose share of t_max is sigmoid(mean + spread N(0, 1)) (Esser et al. 2024, eq. 19).

    The ends of time are rare: with mean 0 and spread 1, 1% of the times are below 0.09 t_max.
    """

    def draw(u: Tensor, path: AffinePath, std: float) -> Tensor:
        normal = torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
        return torch.sigmoid(mean + spread * normal) * path.t_max

    return draw


def shifted_times(factor: float) -> Draw:
    """Uniform times, shifted to the noise as those of the time grid `shift` are."""

    def draw(u: Tensor, path: AffinePath, std: float) -> Tensor:
        return GRIDS[f"shift:{factor!r}"].times_of(path, u)

    return draw


PARAMETERS: dict[str, tuple[Callable[..., Draw], int]] = {
    "logit-normal": (logit_normal_times, 2),
    "shift": (shifted_times, 1),
}
"""Distributions with parameters, and their number: logit-normal:MEAN,SPREAD and shift:FACTOR."""


class Times(Registry[Draw]):
    """The distributions by name, and those of PARAMETERS with any parameters."""

    def __missing__(self, name: str) -> Draw:
        kind, colon, text = str(name).partition(":")
        if not colon or kind not in PARAMETERS:
            return super().__missing__(name)
        make, count = PARAMETERS[kind]
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != count or not all(map(math.isfinite, values)) or values[-1] <= 0:
            raise ValueError(
                f"Times must read logit-normal:MEAN,SPREAD or shift:FACTOR, with a positive last "
                f"number; got {name!r}."
            )
        return make(*values)


TIMES = Times("distribution of times")
TIMES["uniform"] = uniform_times
TIMES["level"] = level_times
TIMES["logit-normal"] = logit_normal_times(0.0, 1.0)
TIMES["shift"] = shifted_times(SHIFT)

LABELS = {
    "uniform": "uniform",
    "level": "log-normal noise-to-data ratio",
    "logit-normal": "logit-normal",
    "shift": f"shifted by {SHIFT:g} towards the noise",
}
"""Names of the distributions in menus."""

HELP = (
    "How the times of a batch are drawn. Uniform is that of the paper. The others train more on "
    "medium noise levels (log-normal, logit-normal) or on high ones (shifted). They weigh times, "
    "but do not change the best field."
)
"""Help of these menus."""


def weighted_times(n: int, path: AffinePath, generator: Generator) -> tuple[Tensor, Tensor]:
    """n times in [0, t_max] and 1 / their density, each (n,) float64.

    Half are uniform in t, half in log sigma_t of a path with linear sigma: the integrand of a
    likelihood bound grows like 1 / sigma_t, while the velocity matters at all times.
    """
    first, last = path.scheduler(path.clock(2)).sigma.tolist()
    depth, slope = math.log(first / last), (first - last) / path.t_max
    uniform = path.t_max * stratified(n // 2, generator)
    late = first * (1 - torch.exp(-depth * stratified(n - n // 2, generator))) / slope
    t = torch.cat([uniform, late.clamp(max=path.t_max)])
    density = 0.5 / path.t_max + 0.5 * slope / (depth * (first - slope * t))
    return t, 1 / density
