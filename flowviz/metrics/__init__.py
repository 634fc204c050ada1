"""Metrics of samples in the plane, compared with data."""

from flowviz.metrics.plane import METRICS, Metric, projections, sliced_w2, unbounded

__all__ = ["METRICS", "Metric", "projections", "sliced_w2", "unbounded"]
