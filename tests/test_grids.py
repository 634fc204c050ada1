"""Time grids: one contract for every grid on every path, and the variable of equal steps."""

import pytest
import torch

from flowviz.grids import GRIDS, NOISIEST, ratio, time_of
from flowviz.methods import density_methods
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS
from flowviz.solvers import METHODS, solve


def path_of(name):
    return AffinePath(SCHEDULERS[name]())


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_rises_from_0_to_the_last_time_exactly(name, scheduler, steps):
    path = path_of(scheduler)
    times = GRIDS[name](path, steps)
    assert times.shape == (steps + 1,) and times.dtype == torch.float64
    assert times[0] == 0 and times[-1] == path.t_max
    assert (times.diff() > 0).all()


@pytest.mark.parametrize("name", GRIDS)
def test_grid_explains_itself_and_refuses_no_steps(name):
    assert GRIDS[name].label and GRIDS[name].sentence.endswith(".") and name == name.lower()
    with pytest.raises(ValueError, match="1 step or more; got 0"):
        GRIDS[name](path_of("ot"), 0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_time_of_is_the_inverse_of_the_ratio(scheduler):
    path = path_of(scheduler)
    t = torch.linspace(0.01, path.t_max, 50, dtype=torch.float64)
    torch.testing.assert_close(time_of(path, ratio(path, t)), t, rtol=0, atol=1e-12)
    ends = time_of(path, torch.tensor([0.0, 1e30], dtype=torch.float64))
    torch.testing.assert_close(ends, ends.new_tensor([0, path.t_max]), rtol=0, atol=1e-12)


def test_uniform_grid_is_the_default_of_the_solver():
    path, x_0 = path_of("vp"), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    for method in (name for name in density_methods() if not METHODS[name].adaptive):
        given, own = (
            solve(lambda t, x: torch.cos(t) * x, x_0, times, method, **budget)
            for budget in ({"grid": GRIDS["uniform"](path, 7)}, {"steps": 7})
        )
        assert given.nfe == own.nfe
        torch.testing.assert_close(given.states[-1], own.states[-1])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_log_snr_grid_multiplies_the_ratio_by_one_factor(scheduler):
    path = path_of(scheduler)
    found = ratio(path, GRIDS["log-snr"](path, 12))[1:]
    factors = found[1:] / found[:-1]
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))


def test_edm_grid_is_the_paper_s():
    """Karras et al. 2022, eq. 5, with sigma the ratio of noise to signal, on the VE path."""
    path, steps = path_of("ve"), 9
    sigmas = 1 / ratio(path, GRIDS["edm"](path, steps))
    i = torch.arange(steps + 1, dtype=torch.float64) / steps
    most, least = min(NOISIEST, sigmas[0].item()), sigmas[-1].item()
    expected = (most ** (1 / 7) + i * (least ** (1 / 7) - most ** (1 / 7))) ** 7
    torch.testing.assert_close(sigmas, expected)


def test_grids_in_the_ratio_have_the_same_ratios_on_any_path():
    """OT and the trigonometric path both start without data and end at one ratio."""
    paths = [path_of("ot"), path_of("trig")]
    found = [ratio(path, GRIDS["log-snr"](path, 10))[1:-1] for path in paths]
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_shift_multiplies_the_odds_of_the_noise_level_once(scheduler):
    """tau / (1 - tau) with tau = 1 - t / t_max; k = 1 is the grid even in t."""
    path, steps = path_of(scheduler), 8
    even, shifted = (1 - GRIDS[name](path, steps) / path.t_max for name in ("uniform", "shift:5"))
    odds = [tau[1:-1] / (1 - tau[1:-1]) for tau in (even, shifted)]
    torch.testing.assert_close(odds[1], 5 * odds[0])
    torch.testing.assert_close(GRIDS["shift:1"](path, steps), GRIDS["uniform"](path, steps))
    torch.testing.assert_close(GRIDS["shift"](path, steps), GRIDS["shift:3"](path, steps))
    assert (GRIDS["shift:0.001"](path, steps).diff() > 0).all()


@pytest.mark.parametrize("name", ["shift:", "shift:0", "shift:-1", "shift:inf", "shift:x"])
def test_invalid_shifts_are_refused_in_one_sentence(name):
    with pytest.raises(ValueError, match="shift:K needs a positive number"):
        GRIDS[name](path_of("ot"), 2)
