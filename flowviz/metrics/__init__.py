"""Measures of how well samples of the plane agree with data."""

from flowviz.metrics.entry import METRICS, Metric
from flowviz.metrics.plane import HALF_WIDTH, unbounded

__all__ = ["HALF_WIDTH", "METRICS", "Metric", "unbounded"]
