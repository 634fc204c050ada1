"""Noise schedules of diffusers, from scheduler_config.json, as a path, an objective and a clock.

A scheduler's class says what the network is given and what it predicts; its other entries mostly
concern sampling and are not needed for the velocity. Three kinds are known, and every other class
is refused by its name:

- levels of a variance-preserving diffusion (Ho et al. 2020, https://arxiv.org/abs/2006.11239);
- flow matching, x = (1 - s) x_1 + s x_0 with the time 1000 s and the prediction x_0 - x_1
  (Esser et al. 2024, https://arxiv.org/abs/2403.03206);
- variance-exploding diffusion (Song et al. 2021, https://arxiv.org/abs/2011.13456).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flowviz.bounds import shown
from flowviz.checkpoints.cards import is_number
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.format import Assumptions
from flowviz.networks import DiscreteTime, Retimed
from flowviz.schedulers import scheduler

MAX_LEVELS = 100_000

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}
"""Entries of a scheduler of noise levels with their defaults."""

BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
"""Defaults of the schedulers that were first written for Stable Diffusion."""

LEVELS: dict[str, dict[str, Any]] = {
    **{
        f"{name}Scheduler": {}
        for name in (
            *("DDPM", "DDPMParallel", "DDIM", "DDIMParallel", "DDIMInverse", "PNDM", "RePaint"),
            *("LMSDiscrete", "DEISMultistep", "UniPCMultistep", "EulerDiscrete", "IPNDM"),
            *("DPMSolverMultistep", "DPMSolverSinglestep", "EulerAncestralDiscrete"),
        )
    },
    **{
        f"{name}Scheduler": BETAS
        for name in ("HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "DPMSolverSDE")
    },
}
"""Schedulers of noise levels, each with its own defaults."""

FLOWS = {f"FlowMatch{name}Scheduler" for name in ("EulerDiscrete", "HeunDiscrete", "LCM")}
EXPLODING = "ScoreSdeVeScheduler"
SIGMAS = {"sigma_min": 0.01, "sigma_max": 1348.0}


@dataclass(frozen=True)
class Schedule:
    """How a network of diffusers becomes one of flowviz.

    Attributes:
        path: spec of its path.
        objective: name in OBJECTIVES of what it predicts.
        wrap: the network of t in [0, 1] of a network of its own clock.
        notes: what was read and assumed, in sentences.
    """

    path: str
    objective: str
    wrap: Callable[[nn.Module], nn.Module]
    notes: str


def read_schedule(entries: Mapping[str, Any] | None, assume: Assumptions, name: str) -> Schedule:
    """The schedule of scheduler_config.json; None assumes the noise levels of Ho et al. 2020.

    Raises:
        CheckpointError: the class is unknown, or an entry is invalid.
    """
    entries = entries or {}
    kind = entries.get("_class_name", "DDPMScheduler")
    flow = entries.get("prediction_type") == "flow_prediction" or entries.get("use_flow_sigmas")
    if assume.predicts == "flow" or (assume.predicts is None and (kind in FLOWS or flow is True)):
        return _flow(entries, assume, name)
    if kind == EXPLODING:
        return _exploding(entries, assume, name)
    if kind not in LEVELS and (not isinstance(kind, str) or assume.predicts is None):
        raise CheckpointError(
            f"{name} has the scheduler {shown(kind)}, which flowviz does not support; state what "
            "the network predicts by --predicts flow or --predicts noise."
        )
    return _levels(entries, LEVELS.get(kind, {}), assume, name)


def _flow(entries: Mapping[str, Any], assume: Assumptions, name: str) -> Schedule:
    levels, shift = entries.get("num_train_timesteps", 1000), entries.get("shift", 1.0)
    if not is_number(levels) or not is_number(shift) or levels < 1 or shift <= 0:
        raise CheckpointError(
            f"{name} has a scheduler that flowviz cannot follow (num_train_timesteps = "
            f"{shown(levels)}, shift = {shown(shift)})."
        )
    path = assume.path or "ot"
    notes = (
        f"It predicts a velocity on the path {path}; time t is its timestep {levels:g} (1 - t)."
    )
    if shift != 1:
        notes += (
            f" Its shift of {shift:g} spaces the steps of its own sampler; the velocity at a "
            "noise level does not depend on it."
        )
    return Schedule(path, "flow", lambda net: Retimed(net, Reversal(levels), sign=-1), notes)


def _exploding(entries: Mapping[str, Any], assume: Assumptions, name: str) -> Schedule:
    config = SIGMAS | {key: value for key, value in entries.items() if key in SIGMAS}
    low, high = config["sigma_min"], config["sigma_max"]
    if not is_number(low) or not is_number(high) or not 0 < low < high <= 1e6:
        raise CheckpointError(
            f"{name} has a scheduler that flowviz cannot follow (sigma_min = {shown(low)}, "
            f"sigma_max = {shown(high)})."
        )
    path = assume.path or f"ve:sigma_min={low:.10g},sigma_max={high:.10g}"
    if not path.startswith("ve"):
        raise CheckpointError(
            f"{name} predicts the score of a variance-exploding path; take ve, not {path}."
        )
    notes = f"It predicts the score on the path {path}, with the noise level sigma_t as its time."
    levels = NoiseLevel(path)
    return Schedule(path, assume.predicts or "score", lambda net: Retimed(net, levels), notes)


def _levels(
    entries: Mapping[str, Any], defaults: Mapping[str, Any], assume: Assumptions, name: str
) -> Schedule:
    config = {
        **SCHEDULER,
        **defaults,
        **{key: value for key, value in entries.items() if key in SCHEDULER},
    }
    predicts = config["prediction_type"]
    if (predicts != "epsilon" and assume.predicts is None) or config["rescale_betas_zero_snr"]:
        raise CheckpointError(
            f"{name} predicts {shown(predicts)}; flowviz reads networks that predict the noise "
            "(epsilon) with noise levels as they are."
        )
    try:
        betas, beta_note = _betas(config)
        exponents = -torch.cumsum(torch.log1p(-betas), 0)
        bar_alphas = torch.exp(-exponents)
        if not ((bar_alphas.diff() < 0).all() and bar_alphas[0] < 1 and bar_alphas[-1] > 0):
            raise ValueError("its betas are too small or too large to tell its levels apart")
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{name} has a scheduler that flowviz cannot follow ({error})."
        ) from error
    path = assume.path or _path(betas, exponents, linear=beta_note.startswith("linear"))
    chosen = scheduler(path)
    ends = chosen(torch.tensor([0.0, 0.5], dtype=torch.float64))
    if not torch.allclose(ends.alpha**2 + ends.sigma**2, torch.ones(2, dtype=torch.float64)):
        raise CheckpointError(
            f"{name} predicts the noise of a path that preserves the variance; take vp or trig, "
            f"not {path}."
        )
    source = "" if "_class_name" in entries or "beta_start" in entries else " as assumed"
    objective = assume.predicts or "noise"
    notes = (
        f"It predicts the {objective} on {len(betas)} levels (beta {beta_note}{source}), read as "
        "a "
        f"velocity on the path {path}: time t is the level n with bar alpha_n = alpha_t^2, a real "
        "number between the integers of its training."
    )
    return Schedule(path, objective, lambda net: DiscreteTime(net, chosen, bar_alphas), notes)


def _betas(config: Mapping[str, Any]) -> tuple[Tensor, str]:
    """beta of each level, float64, and their schedule in words.

    Raises:
        ValueError, TypeError: an entry is invalid.
    """
    kind, n = config["beta_schedule"], int(config["num_train_timesteps"])
    first, last = float(config["beta_start"]), float(config["beta_end"])
    words = f"{kind}"
    if not 2 <= n <= MAX_LEVELS:
        raise ValueError("num_train_timesteps is out of range")
    if config["trained_betas"] is not None:
        words = "from its own list"
        betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
    elif kind == "linear":
        words = f"linear from {first:g} to {last:g}"
        betas = torch.linspace(first, last, n, dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(first**0.5, last**0.5, n, dtype=torch.float64) ** 2
    elif kind == "squaredcos_cap_v2":
        angle = (torch.arange(n + 1, dtype=torch.float64) / n + 0.008) / 1.008 * math.pi / 2
        share = torch.cos(angle) ** 2
        betas = (1 - share[1:] / share[:-1]).clamp(max=0.999)
    else:
        raise ValueError(f"its beta_schedule is {shown(kind)}")
    if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
        raise ValueError("betas must be two or more numbers between 0 and 1")
    return betas, words


def _path(betas: Tensor, exponents: Tensor, *, linear: bool) -> str:
    """The VP path of a linear schedule; of another one, the path with the same ends."""
    n, total = len(betas), exponents[-1].item()
    low = n * betas[0].item()
    high = n * betas[-1].item() if linear else 2 * total - low
    if high < low:
        low = high = total
    path = f"vp:beta_min={low:.10g},beta_max={high:.10g}"
    return "vp" if path == "vp:beta_min=0.1,beta_max=20" else path


@dataclass(frozen=True)
class Reversal:
    """t to N (1 - t)."""

    levels: float = 1.0

    def __call__(self, t: Tensor) -> Tensor:
        """The network's time at t, of any shape."""
        return self.levels * (1 - t)


@dataclass(frozen=True)
class NoiseLevel:
    """t to sigma_t of a path."""

    path: str

    def __call__(self, t: Tensor) -> Tensor:
        """The network's time at t, of any shape."""
        return scheduler(self.path)(t).sigma
