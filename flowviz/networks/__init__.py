"""Networks: maps (t, x) -> (B, *) with parameters, independent of paths and objectives."""

from flowviz.networks.bend import Bend
from flowviz.networks.discrete import DiscreteTime, Retimed
from flowviz.networks.mlp import MLP
from flowviz.networks.plain_mlp import ACTIVATIONS, PlainMLP
from flowviz.networks.unet import IMAGE_NETWORKS, UNet, UNetShape, channels_last

__all__ = [
    "ACTIVATIONS",
    "IMAGE_NETWORKS",
    "MLP",
    "Bend",
    "DiscreteTime",
    "PlainMLP",
    "Retimed",
    "UNet",
    "UNetShape",
    "channels_last",
]
