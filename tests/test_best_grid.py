"""The best time grid against all grids of two steps, and against the uniform one."""

import numpy as np
import pytest
import torch

from flowviz.draws import noise
from flowviz.experiments import best_grid
from flowviz.experiments.best_grid import BestGridConfig, compute_best_grids
from flowviz.experiments.fields import FieldRef
from flowviz.progress import Progress
from flowviz.solvers import solve
from flowviz.studies.best_grid import STUDY, BestConfig


def test_the_best_grid_of_two_steps_is_the_best_of_all(monkeypatch):
    monkeypatch.setattr(best_grid, "COMPARED", ())
    config = BestGridConfig(source="exact:moons/vp", nfes=(2,), cells=4, particles=64, n=10)
    found = compute_best_grids(config, Progress())
    origin, times = FieldRef.of(config.source), torch.from_numpy(found.candidates)
    x_0 = origin.path.start(noise(64, 0))
    ends = solve(origin.field, x_0, times[[0, -1]], best_grid.FINE, grid=times).states[-1]
    errors = []
    for middle in times[1:-1]:
        grid = torch.stack([times[0], middle, times[-1]])
        moved = solve(origin.field, x_0, grid[[0, -1]], "euler", grid=grid).states[-1]
        errors.append((moved - ends).square().sum(dim=-1).mean().sqrt().item())
    assert found.best[0][1] == times[1 + int(np.argmin(errors))]
    assert found.found[0] == pytest.approx(min(errors), rel=1e-4)


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_the_best_grid_has_a_lower_error_than_the_uniform_one(path):
    name = f"exact:8gaussians/{path}"
    found = compute_best_grids(
        BestGridConfig(source=name, nfes=(2, 8), cells=8, particles=64, n=300), Progress()
    )
    assert found.nfe.tolist() == [2, 8]
    assert [len(grid) for grid in found.best] == [3, 9]
    for grid in found.best:
        assert grid[0] == 0 and (np.diff(grid) > 0).all()
        assert set(grid) <= set(found.candidates)
    gain = {"ot": 1.0, "vp": 0.7}[path]  # on OT, equal steps are nearly the best for Euler
    assert found.errors["best"][1] < gain * found.errors["uniform"][1]
    assert found.found[1] < found.found[0]


def test_methods_and_budgets_that_do_not_fit_are_refused():
    for wrong, reason in (
        ({"method": "dpmpp-2m"}, "must make independent steps"),
        ({"method": "heun3", "nfes": (2, 6)}, "must pay for a step"),
    ):
        with pytest.raises(ValueError, match=reason):
            BestGridConfig(source="exact:moons/ot", **wrong)
    with pytest.raises(ValueError, match="cells must be at least 9"):
        STUDY.result(BestConfig(nfes=(16,), cells=4, n=10))
