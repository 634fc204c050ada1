"""Weights of the image U-Net of facebookresearch/flow_matching.

Source: https://github.com/facebookresearch/flow_matching/tree/main/examples/image
"""

from collections.abc import Mapping
from typing import Any

from flowviz.checkpoints.foreign.assumptions import Assumptions
from flowviz.checkpoints.foreign.format import FORMATS, Format, Found, Model
from flowviz.checkpoints.foreign.guided import has_film, is_guided, read_guided

TORCHCFM = {"net_model", "ema_model"}
"""Sets of weights in a file of torchcfm, whose U-Net can have these shapes too."""


def _recognises(weights: Mapping[str, Any]) -> bool:
    return is_guided(weights) and has_film(weights)


def _read(found: Found, assume: Assumptions) -> Model:
    return read_guided(found, assume, heads_first=bool(TORCHCFM & found.sets))


FORMATS["flow_matching"] = Format("flow_matching's image U-Net", _recognises, _read)
