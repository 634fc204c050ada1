"""What a format of foreign weights is: how it is recognised, what is assumed and what is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NotRequired, TypedDict, Unpack

import torch
from torch import Tensor, nn

from flowviz.checkpoints.container import check_fit
from flowviz.checkpoints.errors import CheckpointError
from flowviz.networks import UNet, UNetShape
from flowviz.networks.memory import check_memory
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import scheduler


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Corrections of what is assumed about a file of another project; None assumes the usual.

    Attributes:
        weights: name of the set of weights to take.
        path: spec of the path on which the network was trained.
        predicts: name in OBJECTIVES of what the network predicts.
        size: height and width of the images in pixels.
        time_reversed: whether the network was trained with data at t = 0 and noise at t = 1.

    Raises:
        ValueError: the path or objective is unknown.
    """

    weights: str | None = None
    path: str | None = None
    predicts: str | None = None
    size: int | None = None
    time_reversed: bool = False

    def __post_init__(self) -> None:
        if self.path is not None:
            scheduler(self.path)
        if self.predicts is not None:
            _ = OBJECTIVES[self.predicts]

    @property
    def changed(self) -> dict[str, Any]:
        """The corrections that differ from the default, by name."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


@dataclass(frozen=True)
class ForeignWeights:
    """The weights that were taken from a file or folder.

    Attributes:
        source: names the file in errors.
        weights: by name.
        averages: moving averages of `weights` by their position among the parameters, to take in
            their place.
        sets: names of all sets of weights in the file.
        config: of the network, from config.json; None without that file.
        scheduler: its noise schedule, from scheduler_config.json; None without that file.
    """

    source: str
    weights: dict[str, Tensor]
    averages: dict[int, Tensor] | None = None
    sets: frozenset[str] = frozenset()
    config: Mapping[str, Any] | None = None
    scheduler: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Model:
    """Foreign weights as a network of flowviz.

    Attributes:
        network: maps (t, x) or (t, x, y) to the predicted quantity.
        shape: of its U-Net.
        channels: C of the images.
        size: height and width of the images.
        path: spec of the path on which it was trained.
        objective: name in OBJECTIVES of what it predicts.
        notes: what was read and assumed, in sentences.
        classes: names of the classes.
    """

    network: nn.Module
    shape: UNetShape
    channels: int
    size: int
    path: str
    objective: str
    notes: str
    classes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Format:
    """One format of foreign weights.

    Attributes:
        label: what messages call it.
        recognises: whether weights are of this format, by their names and shapes, without prefix.
        read: the model of weights; raises CheckpointError if they are invalid.
    """

    label: str
    recognises: Callable[[Mapping[str, Any]], bool]
    read: Callable[[ForeignWeights, Assumptions], Model]


class Sizes(TypedDict):
    """The sizes of a U-Net that are not part of its shape."""

    channels: int
    size: int
    num_classes: NotRequired[int]


def fill(
    shape: UNetShape, weights: Mapping[str, Tensor], source: str, **sizes: Unpack[Sizes]
) -> UNet:
    """The U-Net of a shape with weights, which are read as float32.

    Raises:
        CheckpointError: the shape is impossible, or the weights do not fit it.
    """
    weights = {key: value.float() for key, value in weights.items()}
    state = blank(shape, source, **sizes).state_dict()
    check_fit(state, weights, source, network="the U-Net that it describes")
    network = UNet(shape, **sizes)
    network.load_state_dict(weights)
    return network


def blank(shape: UNetShape, source: str, **sizes: Unpack[Sizes]) -> UNet:
    """The U-Net of a shape on the meta device, without memory for its weights.

    Raises:
        CheckpointError: the shape is impossible or takes too much memory.
    """
    try:
        check_memory(shape, sizes["channels"], sizes["size"])
        with torch.device("meta"):
            return UNet(shape, **sizes)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        reason = str(error).strip().rstrip(".")
        raise CheckpointError(f"{source} describes no valid network: {reason}.") from error
