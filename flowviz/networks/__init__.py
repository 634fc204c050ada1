"""Networks: maps (t, x) -> (B, *) with free parameters, without a notion of path or objective."""

from flowviz.networks.mlp import MLP

__all__ = ["MLP"]
