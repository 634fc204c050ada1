"""What the sections compute, kept by its config."""

from collections.abc import Callable

from flowviz.experiments import posterior
from flowviz.experiments.posterior import ConditionalResult, ConversionResult, TouchResult
from flowviz.ui.cache import kept

__all__ = ["conditional", "conversions", "touch"]

touch: Callable[..., TouchResult] = kept(posterior, "compute_touch", 48)
conditional: Callable[..., ConditionalResult] = kept(posterior, "compute_conditional", 48)
conversions: Callable[..., ConversionResult] = kept(posterior, "compute_conversions", 96)
