"""What all trainings share: configs, a run at rest, the learning rate, averages of weights.

At rest a run is named tensors, "PART.NAME" of each network and one prefix for each moment of its
optimiser, from which it goes on to the bit. Files of such runs exist: the names must stay.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from flowviz.files import write_text

__all__ = [
    "ADAM",
    "Config",
    "average",
    "config_in",
    "cut_log",
    "restore",
    "schedule",
    "tensors_of",
]


class Config:
    """What the configs of all trainings share; each is a frozen dataclass of names and numbers."""

    WHAT: ClassVar[str]
    """What errors call such a config."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of a card; names that this version does not know are refused."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{cls.WHAT} has no {', '.join(sorted(unknown))}.")
        return cls(**values)


C = TypeVar("C", bound=Config)

ADAM = {key: f"optimizer.{key}." for key in ("step", "exp_avg", "exp_avg_sq")}
"""What Adam remembers of a weight, and how the names of it begin."""


def tensors_of(
    parts: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    step: int,
    generator: torch.Generator | None = None,
    moments: Mapping[str, str] = ADAM,
) -> dict[str, Tensor]:
    """All that the next step depends on, as named CPU tensors of their own.

    Args:
        parts: the networks by name, first the one that is being trained.
        optimizer: of its weights.
        step: optimiser steps done.
        generator: of the draws, where they do not follow from the step.
        moments: the beginning of a name for each thing that the optimiser remembers of a weight.
    """
    named = {f"{part}.{k}": v for part, own in parts.items() for k, v in own.state_dict().items()}
    for name, parameter in next(iter(parts.values())).named_parameters():
        for key, prefix in moments.items():
            value = optimizer.state.get(parameter, {}).get(key)
            if value is not None:
                named[prefix + name] = value
    if generator is not None:
        named["generator"] = generator.get_state()
    named["step"] = torch.tensor(step)
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in named.items()
    }


def restore(
    tensors: Mapping[str, Tensor],
    parts: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator | None = None,
    moments: Mapping[str, str] = ADAM,
) -> int:
    """Takes up where `tensors_of` was called, to the bit; returns the step.

    Raises:
        ValueError: the tensors are not those of a run with the same networks.
    """

    def like(parameter: Tensor, value: Tensor) -> Tensor:
        if not value.ndim:  # a count of steps
            return value.clone().to(parameter.device)
        # Moments lie in memory as the weights do, or the fused step would be another.
        return torch.empty_like(parameter).copy_(value)

    try:
        for part, own in parts.items():
            begin = f"{part}."
            own.load_state_dict(
                {k.removeprefix(begin): v for k, v in tensors.items() if k.startswith(begin)}
            )
        for name, parameter in next(iter(parts.values())).named_parameters():
            if any(prefix + name in tensors for prefix in moments.values()):
                optimizer.state[parameter] = {
                    key: like(parameter, tensors[prefix + name]) for key, prefix in moments.items()
                }
        if generator is not None:
            generator.set_state(tensors["generator"])
        return int(tensors["step"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise ValueError(
            "The saved training state must come from a run with the same network; "
            "start afresh or give the settings of the saved run."
        ) from error


def schedule(step: int, steps: int, warm_up: int, *, falls: bool = True) -> float:
    """The learning rate after `step` of `steps` steps, as a fraction of its peak.

    It rises over `warm_up` steps, at least one, and then falls linearly to 0 or stays.
    """
    warm_up = max(1, warm_up)
    rising, falling = (step + 1) / warm_up, (steps - step) / max(1, steps - warm_up)
    return min(1.0, rising, falling if falls else 1.0)


@torch.no_grad()
def average(
    averages: Iterable[Tensor], weights: Iterable[Tensor], step: int, decay: float
) -> None:
    """Moves averages of weights on after the `step`-th step; their memory is short while young."""
    decay = min(decay, step / (step + 10))
    torch._foreach_lerp_(list(averages), list(weights), 1 - decay)


def config_in(folder: str | Path, kind: type[C], form: str) -> C:
    """The config of the run in a folder; `form` is the format that its config.json states.

    Raises:
        ValueError: there is no run, or its config cannot be read.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"There is no run to resume: {path} does not exist.")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is not JSON.") from error
    if not isinstance(content, dict) or content.get("format") != form:
        raise ValueError(
            f"{path} is not the config of a run of this kind: its format is not {form!r}."
        )
    try:
        return kind.from_dict(content["config"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: an entry is missing or wrong.") from error
    except ValueError as error:
        raise ValueError(f"{path} will not do. {error}") from error


def cut_log(path: Path, step: int) -> None:
    """Drops the lines beyond `step` and a line cut short, which a killed run left behind."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break
        kept.append(line + "\n")
    write_text(path, "".join(kept))
