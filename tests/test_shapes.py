"""The shapes and kinds of numbers that the engine's docstrings state, checked while it computes.

Each function passes its arguments on. jaxtyping and beartype check them and the result: an axis
with one name has one size in a call.
"""

import pytest
import torch
from beartype import beartype
from jaxtyping import Bool, Float, Float64, Int, TypeCheckError, jaxtyped
from torch import Tensor

from flowviz import stochastic
from flowviz.couplings import COUPLINGS
from flowviz.datasets import DATASETS, dataset
from flowviz.densities import log_prob, log_prob_along, velocity_and_divergence
from flowviz.fields import LearnedField, exact_field, field_class
from flowviz.grids import GRIDS
from flowviz.methods import METHODS
from flowviz.networks import MLP
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import Solution, solve
from flowviz.straightness import conditional_straightness

checked = jaxtyped(typechecker=beartype)

Times = Float64[Tensor, ""] | Float64[Tensor, " B"]
States = Float[Tensor, "B *D"]
Plane = Float[Tensor, "B 2"]
Numbers = Float[Tensor, " B"]


def generator():
    return torch.Generator().manual_seed(0)


def times(path, count):
    """Times of an axis B, away from both ends, where some conversions divide by 0."""
    return path.time(torch.linspace(0.2, 0.8, count, dtype=torch.float64))


@checked
def coefficients(path: AffinePath, t: Float64[Tensor, "*T"]) -> tuple[Float64[Tensor, "*T"], ...]:
    return tuple(path.scheduler(t))


@checked
def conditional(path: AffinePath, t: Times, x_0: States, x_1: States) -> tuple[States, ...]:
    x = path.flow(t, x_0, x_1)
    return x, path.target(t, x_0, x_1), path.velocity(t, x, x_1), path.score(t, x, x_1)


@checked
def predictions(path: AffinePath, t: Times, x: States, u: States) -> tuple[States, ...]:
    noise, score = path.noise_from_velocity(t, x, u), path.score_from_velocity(t, x, u)
    return (
        noise,
        score,
        path.velocity_from_noise(t, x, noise),
        path.velocity_from_score(t, x, score),
        path.velocity_from_data(t, x, u),
    )


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_paths(name, shape):
    path, count = AffinePath(SCHEDULERS[name]()), 5
    x_0, x_1 = torch.randn(2, count, *shape, generator=generator())
    for t in (times(path, count), times(path, 3)[1]):
        assert len(coefficients(path, t)) == 4
        assert len(conditional(path, t, x_0, x_1)) == 4
        assert len(predictions(path, t, x_0, x_1)) == 5
    coefficients(path, times(path, 6).reshape(2, 3))


@checked
def drawn(distribution, n: int) -> Float[Tensor, "{n} 2"]:
    return distribution.sample(n, generator())


@checked
def densities(distribution, x: Plane) -> tuple[Numbers, Bool[Tensor, " B"]]:
    return distribution.log_prob(x), distribution.contains(x)


@checked
def posterior_means(field, t: Times, x: Plane) -> tuple[Plane, ...]:
    return field(t, x), field.score(t, x), field.data_mean(t, x), *field.means(t, x)


@checked
def exact_densities(field, t: Times, x: Plane) -> tuple[Numbers, Numbers]:
    return field.log_density(t, x), field.divergence(t, x)


@checked
def density_grid(
    field, t: Float64[Tensor, ""], xs: Float[Tensor, " X"], ys: Float[Tensor, " Y"]
) -> Float[Tensor, "Y X"]:
    return field.density_grid(t, xs, ys)


@pytest.mark.parametrize("data", DATASETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distributions_and_exact_fields(data, dtype):
    distribution = dataset(data).distribution
    x = drawn(distribution, 7).to(dtype)
    log_density, inside = densities(distribution, x)
    assert log_density.dtype == dtype and inside.any()
    field = exact_field(AffinePath(SCHEDULERS["ot"]()), distribution)
    for t in (times(field.path, 7), times(field.path, 3)[1]):
        assert {each.dtype for each in posterior_means(field, t, x)} == {dtype}
        exact_densities(field, t, x)
    density_grid(
        field, times(field.path, 3)[1], torch.linspace(-4, 4, 5), torch.linspace(-4, 4, 6)
    )


@checked
def velocity(field, t: Times, x: States) -> States:
    return field(t, x)


@checked
def with_divergence(field, t: Float64[Tensor, ""], x: Plane) -> tuple[Plane, Numbers]:
    return velocity_and_divergence(field, t, x)


@checked
def loss(field: LearnedField, t: Float64[Tensor, " B"], x_0: Plane, x_1: Plane) -> Numbers:
    return field.loss(t, x_0, x_1)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_learned_fields(objective):
    chosen, path = OBJECTIVES[objective], AffinePath(SCHEDULERS["vp"]())
    network = MLP(width=8, depth=2, two_times=chosen.two_times, generator=generator())
    field = field_class(chosen)(network, path, chosen, mean=torch.zeros(2), std=1.0)
    x_0, x_1 = torch.randn(2, 5, 2, generator=generator())
    for t in (times(path, 5), times(path, 3)[1]):
        velocity(field, t, x_0)
    with_divergence(field, times(path, 3)[1], x_0)
    if not chosen.two_times:
        loss(field, times(path, 5), x_0, x_1)


@checked
def solved(
    field, x_0: States, at: Float64[Tensor, " T"], method: str, **how
) -> tuple[Float64[Tensor, " T"], Float[Tensor, "T B *D"]]:
    solution = solve(field, x_0, at, method, **how)
    steps(solution)
    return solution.times, solution.states


def steps(solution: Solution) -> None:
    """Checks the steps of a solution; S + 1 is an axis of its own, E."""

    @checked
    def ends(
        step_times: Float64[Tensor, " E"], step_states: Float[Tensor, "E B *D"]
    ) -> Int[Tensor, " E"]:
        return torch.arange(len(step_times))

    ends(solution.step_times, solution.step_states)


class Steady:
    """The field v = -x on conditional OT, which also jumps exactly."""

    path = AffinePath(SCHEDULERS["ot"]())

    def __call__(self, t, x):
        return -x

    def jump(self, t, s, x):
        return x * torch.exp(t - s).to(x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_solutions(method, shape):
    x_0 = torch.randn(5, *shape, generator=generator())
    at = Steady.path.clock(4)[:3]  # also checks the end of jumps
    how = {"tol": 1e-3} if METHODS[method].adaptive else {"steps": 6}
    solved(Steady(), x_0, at, method, **how)


@checked
def log_densities(field, x: Plane) -> tuple[Numbers, Plane]:
    found = log_prob(field, x, t_max=field.path.t_max, method="midpoint", steps=4)
    return found.log_prob, found.x_0


@checked
def along(field, x: Plane, grid: Float64[Tensor, " E"]) -> Float[Tensor, "E B"]:
    return log_prob_along(field, x, t_max=field.path.t_max, method="midpoint", steps=4).log_prob


@checked
def pairs(name: str, x_0: States, x_1: States) -> States:
    return COUPLINGS[name](x_0, x_1, generator())


@checked
def diffused(
    field, x_0: Plane, grid: Float64[Tensor, " E"], sampler: str
) -> Float[Tensor, "E B 2"]:
    how = {"noise": 0.5, "generator": generator()}
    return stochastic.sample(field, field.path, x_0, grid, sampler, **how).states


@checked
def deviations(path: AffinePath, x_0: States, x_1: States) -> float:
    return conditional_straightness(path, x_0, x_1).deviation


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_densities_diffusions_and_grids(path):
    field = exact_field(AffinePath(SCHEDULERS[path]()), dataset("8gaussians").distribution)
    x_0, x_1 = torch.randn(2, 5, 2, generator=generator())
    log_densities(field, x_0)
    along(field, x_0, torch.linspace(0, 1, 5, dtype=torch.float64))
    deviations(field.path, x_0, x_1)
    for name in stochastic.SAMPLERS:
        diffused(field, x_0, field.path.clock(4), name)
    for grid in GRIDS.values():
        coefficients(field.path, grid(field.path, 6))


@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
def test_couplings(name, shape):
    pairs(name, *torch.randn(2, 6, *shape, generator=generator()))


def test_a_wrong_shape_or_kind_is_found():
    x = torch.zeros(5, 2)
    for wrong in (lambda t, x: x[:1], lambda t, x: x.long(), lambda t, x: x.sum(1)):
        with pytest.raises(TypeCheckError):
            velocity(wrong, torch.tensor(0.5, dtype=torch.float64), x)
    with pytest.raises(TypeCheckError):
        velocity(Steady(), torch.zeros(4, dtype=torch.float64), x)
