"""Weights of torchcfm's U-Net, as its CIFAR-10 and MNIST examples save them.

Source: https://github.com/atong01/conditional-flow-matching
"""

from collections.abc import Mapping
from typing import Any

from flowviz.checkpoints.foreign.assumptions import Assumptions
from flowviz.checkpoints.foreign.format import FORMATS, Format, Found, Model
from flowviz.checkpoints.foreign.guided import has_film, is_guided, read_guided


def _recognises(weights: Mapping[str, Any]) -> bool:
    return is_guided(weights) and not has_film(weights)


def _read(found: Found, assume: Assumptions) -> Model:
    return read_guided(found, assume, heads_first=True)


FORMATS["torchcfm"] = Format("torchcfm's U-Net", _recognises, _read)
