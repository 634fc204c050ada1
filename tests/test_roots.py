"""Bisection, elementwise."""

import torch

from flowviz.roots import bisect


def test_bisection_finds_where_a_condition_stops_to_all_digits():
    values = torch.tensor([0.0, 1e-9, 0.3, 2.0, 9.0], dtype=torch.float64)
    low, high = torch.zeros_like(values), torch.full_like(values, 2.0)
    found = bisect(lambda x: x**3 < values, low, high)
    torch.testing.assert_close(found, values.pow(1 / 3).clamp(max=2), rtol=1e-14, atol=1e-15)
