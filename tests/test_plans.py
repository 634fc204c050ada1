"""Plans: prepared evaluations of learned fields of the plane, against the plain module."""

from functools import partial
from itertools import product

import pytest
import torch

from flowviz.densities import log_prob, velocity_and_divergence
from flowviz.fields import LearnedField, field_class
from flowviz.fields.learned import MIN_SINGLE
from flowviz.methods import METHODS
from flowviz.networks import MLP, products
from flowviz.networks.plan import BLOCK, ROWS
from flowviz.objectives import OBJECTIVES
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import solve
from flowviz.threads import threads_for

FIXED = [name for name, method in METHODS.items() if not (method.adaptive or method.jumps)]


def build(path="ot", objective="flow", *, preconditioned=True, dtype=torch.float64, **sizes):
    """A field with random weights in every layer."""
    generator = torch.Generator().manual_seed(0)
    chosen = OBJECTIVES[objective]
    network = MLP(**{"width": 48, **sizes}, two_times=chosen.two_times, generator=generator)
    torch.nn.init.normal_(network.head.weight, std=0.3, generator=generator)
    return field_class(chosen)(
        network,
        AffinePath(SCHEDULERS[path]()),
        chosen,
        mean=torch.tensor([0.5, -0.3]),
        std=1.7,
        preconditioned=preconditioned,
    ).to(dtype)


def states(count, dtype=torch.float64):
    return 2 * torch.randn(count, 2, generator=torch.Generator().manual_seed(1), dtype=dtype)


def plain(field):
    """The field as its modules compute it, with gradients allowed."""

    def velocity(t, x):
        with torch.enable_grad():
            return field(t, x).detach()

    velocity.path = field.path  # exponential solvers use it
    return velocity


PREDICTABLE = [
    (path, objective)
    for path, objective in product(SCHEDULERS, ("flow", "noise", "score", "meanflow"))
    if not OBJECTIVES[objective].needs_alpha or path in ("vp", "ve")
]


@pytest.mark.parametrize("preconditioned", [True, False])
@pytest.mark.parametrize(("path", "objective"), PREDICTABLE)
def test_plan_is_the_plain_field(path, objective, preconditioned):
    if objective == "meanflow" and not preconditioned:
        preconditioned = True  # required for a flow map
    field = build(path, objective, preconditioned=preconditioned)
    x, times = states(40), field.path.clock(5)
    with torch.no_grad():
        planned = field.planned(times, x)
        planned(times[0], x[:3])
        for t in times:
            expected = plain(field)(t, x)
            torch.testing.assert_close(planned(t, x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("octaves", [0, 3])
@pytest.mark.parametrize("preconditioned", [True, False])
def test_divergence_is_that_of_automatic_differentiation(depth, octaves, preconditioned):
    field = build(depth=depth, octaves=octaves, preconditioned=preconditioned)
    x, t = states(ROWS + 30), torch.tensor(0.37, dtype=torch.float64)  # a shorter last part
    known = field.velocity_and_divergence(t, x)
    expected = velocity_and_divergence(lambda t, x: field(t, x), t, x)
    torch.testing.assert_close(known, expected, rtol=1e-9, atol=1e-9)


def test_float32_differs_by_rounding_only():
    """The plain field and its plan have similar errors, in velocity and divergence."""
    field, x = build(dtype=torch.float32, width=128), states(1_000, torch.float32)
    t = torch.tensor(0.6, dtype=torch.float64)
    exact = build(width=128)
    exact.load_state_dict({k: v.double() for k, v in field.state_dict().items()})
    velocity, trace = field.velocity_and_divergence(t, x)
    automatic = velocity_and_divergence(lambda t, x: field(t, x), t, x)
    expected = exact.velocity_and_divergence(t, x.double())
    for computed, module, true in zip((velocity, trace), automatic, expected, strict=True):
        own, other = ((each - true).abs().max() for each in (computed, module))
        assert own < 3 * other < 1e-2


@pytest.mark.parametrize("library", ["onednn", "blas"])
def test_both_libraries_compute_the_layers(library, monkeypatch):
    """Each is compared with float64; the tensor for the output is optional."""
    if library == "onednn" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_has_onednn", lambda dtype: library == "onednn")
    h, out = states(300).repeat(1, 24)[:, :40], torch.empty(300, 56)
    generator = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(41, 56, generator=generator).double().split([40, 1])
    linear = h @ weight
    smooth = torch.nn.functional.silu(linear + bias)
    h, weight, bias = h.float(), weight.float(), bias[0].float()
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=2e-5)
    close(products.product(h, weight, out), linear.float())
    close(products.silu_layer(h, weight, bias, out), smooth.float())


@pytest.mark.parametrize("method", FIXED)
def test_solvers_prepare_every_time_at_which_they_evaluate(method, monkeypatch):
    field, x = build(), states(20)
    grid = torch.linspace(0, field.path.t_max, 8, dtype=torch.float64)
    expected = solve(plain(field), x, grid[[0, -1]], method, grid=grid)
    made = []
    original = LearnedField.planned
    monkeypatch.setattr(
        LearnedField, "planned", lambda *args: made.append(args) or original(*args)
    )
    monkeypatch.setattr("flowviz.fields.planned.Planned._numbers_at", at := CountedAt())
    found = solve(field, x, grid[[0, -1]], method, grid=grid)
    torch.testing.assert_close(found.states, expected.states, rtol=1e-9, atol=1e-9)
    assert len(made) == 1 and found.nfe == expected.nfe == at.known


class CountedAt:
    """Replaces `Planned._numbers_at`; every time must be known."""

    def __init__(self):
        self.known = 0

    def __get__(self, planned, owner):
        def at(t):
            self.known += 1
            return planned.known[t.item()]

        return at


def test_log_density_is_that_of_the_plain_field():
    field, x = build(), states(50)
    how = {"t_max": field.path.t_max, "method": "midpoint", "steps": 6}
    torch.testing.assert_close(
        log_prob(field, x, **how).log_prob,
        log_prob(plain_with_gradients(field), x, **how).log_prob,
        rtol=1e-9,
        atol=1e-9,
    )


def plain_with_gradients(field):
    return lambda t, x: field(t, x) if torch.is_grad_enabled() else plain(field)(t, x)


def test_plan_uses_the_current_weights_and_does_not_change_gradients():
    field, x = build(), states(MIN_SINGLE)  # enough for a plan of one evaluation
    t = torch.tensor(0.5, dtype=torch.float64)
    assert hasattr(field, "planned")
    assert field(t, x).requires_grad and field.planned(t[None], x) is None
    with torch.no_grad():
        before = field(t, x)
        field.network.head.weight.mul_(2)
        after = field(t, x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, plain(field)(t, x), rtol=1e-9, atol=1e-9)
    _, slope = torch.func.jvp(lambda x: field(t, x), (x,), (torch.ones_like(x),))
    with torch.no_grad():
        _, same = torch.func.jvp(lambda x: field(t, x), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(slope, same)


def test_many_states_are_the_same_on_several_threads(monkeypatch):
    field, x = build(dtype=torch.float32), states(5 * BLOCK // 2, torch.float32)
    t, threads = torch.tensor(0.3, dtype=torch.float64), torch.get_num_threads()
    results = []
    for count in ("1", "2"):
        monkeypatch.setenv("FLOWVIZ_THREADS", count)
        assert threads_for(len(x) // BLOCK) == int(count)
        results.append(field.velocity_and_divergence(t, x))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert torch.get_num_threads() == threads  # unchanged


def test_nan_time_gives_nan_without_an_endless_loop():
    field, x = build(), states(3)
    with torch.no_grad():
        assert field.planned(field.path.clock(2), x)(torch.tensor(torch.nan), x).isnan().all()
