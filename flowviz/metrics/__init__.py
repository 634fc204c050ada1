"""Metrics of samples in the plane, compared with data."""

from flowviz.metrics.entry import METRICS, Metric
from flowviz.metrics.plane import projections, sliced_w2, unbounded

__all__ = ["METRICS", "Metric", "projections", "sliced_w2", "unbounded"]
