"""The training loop that all kinds of training share.

A kind of training is a config and a subclass of `TrainingRun`, which builds the model and computes
the loss of a batch. Optimiser steps, the learning rate, the averaged weights and the saved state,
from which a run continues bit for bit, are the same for all.

A saved state is a dict of named tensors: "PART.NAME" for the weights of each model, one prefix for
each quantity that the optimiser keeps of a weight, "step", and "generator" if the run has one.
Files with these names exist: they must not change.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator as Yields
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

import torch
from torch import Generator, Tensor, nn

from flowviz.distributed import ALONE, Processes

if TYPE_CHECKING:
    from flowviz.training.nfdm import NfdmConfig, NfdmRun
    from flowviz.training.plane import PlaneRun, TrainConfig

__all__ = ["RUNS", "TrainingConfig", "TrainingRun", "start", "train"]


class TrainingConfig:
    """Base of all training configs, which are frozen dataclasses of strings and numbers.

    Attributes:
        LABEL: the noun that error messages use.
        FORMAT: the format stated in the config.json of a run's folder.
        MAX_WARM_UP: maximum of `warm_up` as a share of the steps.
        seed: of the weights and of all draws.
        lr: peak learning rate.
        warm_up: number of steps over which the learning rate rises linearly.
        decay: "linear" if the learning rate then falls to 0 at the last step, or "constant".
        clip: maximum norm of a gradient, to which larger ones are scaled down; 0 for no maximum.
        ema: decay of the averaged weights per step.
        steps: number of optimiser steps.
    """

    LABEL: ClassVar[str] = "A training config"
    FORMAT: ClassVar[str] = ""
    MAX_WARM_UP: ClassVar[float] = 0.1

    seed: int
    lr: float
    warm_up = 200
    decay = "linear"
    clip = 5.0
    ema: float
    steps: int
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config with these entries.

        Raises:
            ValueError: an entry is unknown, or a value is out of its bounds.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{cls.LABEL} has no {', '.join(sorted(unknown))}.")
        return cls(**values)


C = TypeVar("C", bound=TrainingConfig)

RUNS: "dict[type[TrainingConfig], type[TrainingRun]]" = {}
"""The kind of training of each config class."""


class TrainingRun(ABC, Generic[C]):
    """A model in training. `advance` makes one optimiser step in place.

    A subclass is declared with its config, `class MyRun(TrainingRun, config=MyConfig)`, and
    implements `build` and `losses`; the rest are defaults for fields of the plane.

    Args:
        config: what to train.
        data: the data set that `config.data` names.
        device: where to compute; the CPU by default.
        compiled: whether torch.compile prepares the model; the weights then differ in the last
            digits from those of a run without.
        processes: this process and those that train with it.

    Attributes:
        generator: of the initial weights, and of all other draws unless DRAWS_BY_STEP.
        model: the model whose weights are trained.
        ema: the model with the moving average of the weights, from which samples are drawn.
        step: optimiser steps made.
        loss: loss of the last batch, a tensor ().
        gradient_norm: norm of the last gradient before clipping, a tensor ().
    """

    PART: ClassVar[str] = "field"
    """Name of `model` in saved states."""
    MOMENTS: ClassVar[Mapping[str, str]] = {
        key: f"optimizer.{key}." for key in ("step", "exp_avg", "exp_avg_sq")
    }
    """Prefix, in saved states, of each quantity that the optimiser keeps of a weight."""
    DRAWS_BY_STEP: ClassVar[bool] = False
    """Whether the draws of a step depend on the seed and the step alone, so that no generator is
    part of a saved state."""

    def __init_subclass__(cls, *, config: type[TrainingConfig]) -> None:
        super().__init_subclass__()
        RUNS[config] = cls

    def __init__(
        self,
        config: C,
        data: Any,
        device: torch.device | None = None,
        *,
        compiled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.data, self.processes = config, data, processes
        self.device = device or torch.device("cpu")
        self.generator = self.build_generator()
        self.model = self.build(self.generator).to(self.device)
        self.ema = self.build(None).to(self.device).requires_grad_(False).eval()
        self.ema.load_state_dict(self.model.state_dict())
        if compiled:
            getattr(self.model, "network", self.model).compile(dynamic=False)
        self.optimizer = self.build_optimizer()
        self.step = 0
        self.loss = self.gradient_norm = torch.tensor(math.nan)
        self._averaged, self._trained = _floats(self.ema), _floats(self.model)

    @abstractmethod
    def build(self, generator: Generator | None) -> nn.Module:
        """The untrained model, its weights drawn by `generator`."""

    @abstractmethod
    def losses(self) -> Iterator[Tensor]:
        """Yields the loss () of each part of the next batch; the batch's loss is their sum.

        One part is the whole batch, several save memory: each is backpropagated before the next.
        """

    def build_generator(self) -> Generator:
        """The generator of the weights."""
        return Generator().manual_seed(self.config.seed)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the weights of `model`."""
        return torch.optim.Adam(
            self.model.parameters(), lr=self.config.lr, betas=(0.9, 0.99), fused=True
        )

    @property
    def steps(self) -> int:
        """Number of optimiser steps of the whole run."""
        return self.config.steps

    @property
    def log_every(self) -> int:
        """Number of steps between two lines of a run folder's log."""
        return 100

    def log_entry(self) -> dict[str, Any]:
        """What the log states besides step, loss, gradient norm, learning rate and seconds."""
        return {}

    def outputs(self) -> dict[str, bytes]:
        """Files for the run folder after this step, by name, besides saved states and the log."""
        return {}

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.steps

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        config, steps = self.config, self.steps
        warm_up = max(1, min(config.warm_up, int(config.MAX_WARM_UP * steps)))
        rise = (self.step + 1) / warm_up
        fall = (steps - self.step) / max(1, steps - warm_up)
        return config.lr * min(1.0, rise, fall if config.decay == "linear" else 1.0)

    def advance(self) -> None:
        """Makes one optimiser step on a new batch."""
        self.model.train()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for loss in self.losses():
            loss.backward()
            total += loss.detach()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.gradient_norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), self.config.clip or math.inf
        )
        self.optimizer.step()
        self.step += 1
        self.loss = self.processes.mean(total)
        # The first averages forget fast, so that they are not dominated by the initial weights.
        decay = min(self.config.ema, self.step / (self.step + 10))
        # In the style of torch.optim.
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
            self._averaged, self._trained, 1 - decay
        )

    def saved_state(self) -> dict[str, Tensor]:
        """All that the next step depends on, as named CPU tensors; copies."""
        named = {f"{part}.{k}": v for part, m in self._parts() for k, v in m.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, prefix in self.MOMENTS.items():
                value = self.optimizer.state.get(parameter, {}).get(key)
                if value is not None:
                    named[prefix + name] = value
        if not self.DRAWS_BY_STEP:
            named["generator"] = self.generator.get_state()
        named["step"] = torch.tensor(self.step)
        return {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in named.items()
        }

    def restore(self, saved_state: Mapping[str, Tensor]) -> None:
        """Continues, bit for bit, the run whose `saved_state()` is given.

        Raises:
            ValueError: it is of a run with another network.
        """
        try:
            for part, model in self._parts():
                prefix = f"{part}."
                model.load_state_dict(
                    {
                        name.removeprefix(prefix): value
                        for name, value in saved_state.items()
                        if name.startswith(prefix)
                    }
                )
            for name, parameter in self.model.named_parameters():
                if any(prefix + name in saved_state for prefix in self.MOMENTS.values()):
                    self.optimizer.state[parameter] = {
                        key: _like(parameter, saved_state[prefix + name])
                        for key, prefix in self.MOMENTS.items()
                    }
            if not self.DRAWS_BY_STEP:
                self.generator.set_state(saved_state["generator"])
            self.step = int(saved_state["step"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                "The saved training state must come from a run with the same network; "
                "start a new run or use the settings of the saved one."
            ) from error

    def _parts(self) -> list[tuple[str, nn.Module]]:
        return [(self.PART, self.model), ("ema", self.ema)]


def start(config: TrainingConfig, data: Any, *arguments: Any, **options: Any) -> TrainingRun:
    """A new run of the kind that `config` belongs to; for the arguments see its class."""
    return RUNS[type(config)](config, data, *arguments, **options)


@overload
def train(
    config: "TrainConfig",
    data: Any,
    *,
    saved_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> "Yields[PlaneRun, None, None]": ...
@overload
def train(
    config: "NfdmConfig",
    data: Any,
    *,
    saved_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> "Yields[NfdmRun, None, None]": ...
@overload
def train(
    config: TrainingConfig,
    data: Any,
    *,
    saved_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> "Yields[TrainingRun, None, None]": ...
def train(
    config: TrainingConfig,
    data: Any,
    *,
    saved_state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> "Yields[TrainingRun, None, None]":
    """Yields the run after each optimiser step, the same object every time.

    Args:
        config: what to train.
        data: the data set that `config.data` names.
        saved_state: of an earlier run of the same config, to continue it.
        options: of the config's `TrainingRun`, such as the device.
    """
    run = start(config, data, **options)
    if saved_state is not None:
        run.restore(saved_state)
    while not run.done:
        run.advance()
        yield run


def _floats(model: nn.Module) -> list[Tensor]:
    """Weights and running moments, without integer counters; they share the model's memory."""
    return [value for value in model.state_dict().values() if value.is_floating_point()]


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A saved quantity of the optimiser as it keeps it for `parameter`."""
    if not value.ndim:  # a step counter
        return value.clone().to(parameter.device)
    # In the memory format of the weights, as otherwise the fused step rounds differently.
    return torch.empty_like(parameter).copy_(value)
