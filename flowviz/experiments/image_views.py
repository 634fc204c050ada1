"""Views of image checkpoints: films, interpolations, class sweeps, straightness."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.draws import noise
from flowviz.experiments.evolution import last_step
from flowviz.experiments.images import (
    ImageConfig,
    draw_images,
    field_and_noise,
    labels_of,
    sample,
    solve_images,
    to_pixels,
)
from flowviz.progress import stop_if_requested
from flowviz.solvers import METHODS
from flowviz.straightness import Straightness, marginal_straightness


@dataclass(frozen=True)
class Film:
    """Images over time: the states and the data predicted from them.

    Attributes:
        times: (T,) rising from 0 to the path's last time.
        reached: (T,) the times of the states: `times`, but with jumps the last jump's.
        states: (T, n, C, H, W) uint8: x_t, clipped to the range of pixels.
        predictions: (T, n, C, H, W) uint8: E[x_1 | x_t], clipped; with guidance, the x_1 that the
            guided velocity implies.
        noise: (T,) share of noise in x_t by standard deviation, sigma / |(alpha s, sigma)| for
            data of standard deviation s.
        remaining: (T, n) root mean square distance of the prediction from the final image, in
            units of [-1, 1].
        nfe: number of evaluations of the solve; the predictions took one more per time.
    """

    times: NDArray[np.float64]
    reached: NDArray[np.float64]
    states: NDArray[np.uint8]
    predictions: NDArray[np.uint8]
    noise: NDArray[np.float64]
    remaining: NDArray[np.float64]
    nfe: int


def film(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    frames: int = 21,
) -> Film:
    """States over time and the data that the field predicts from them.

    The frames are uniform in t. Between steps of a fixed-step solver the states are interpolated
    linearly, so frames that coincide with steps show the solver's own states. A flow map has no
    states between its jumps: a frame there shows the state after the last jump.

    Raises:
        ValueError: the config does not fit the checkpoint, or there are fewer than two frames.
        SolveError: as `flowviz.solvers.solve`.
    """
    if frames < 2:
        raise ValueError(f"A film must have at least two frames; got {frames}.")
    field, x_0 = field_and_noise(checkpoint, config)
    path = field.path
    times = path.clock(frames)
    solution = solve_images(field, x_0, config, times=times)
    reached, states, of_frame = times, solution.states, torch.arange(frames)
    if METHODS[config.solver].jumps:
        steps = solution.step_times.cpu()
        last = torch.as_tensor(last_step(steps.numpy(), times.numpy()))
        unique_steps, of_frame = last.unique(return_inverse=True)
        reached, states = steps[unique_steps], solution.step_states[unique_steps]
    predicted = []
    with torch.no_grad():
        for t, x in zip(reached, states, strict=True):
            stop_if_requested()
            predicted.append(field.data(t, x))
    reached, states = reached[of_frame], states[of_frame]
    predictions = torch.stack(predicted)[of_frame]
    c = path.scheduler(reached)
    differences = predictions - states[-1]
    return Film(
        times.numpy(),
        reached.numpy(),
        to_pixels(states),
        to_pixels(predictions),
        (c.sigma / torch.hypot(c.alpha * checkpoint.field.std, c.sigma)).numpy(),
        differences.double().square().flatten(2).mean(dim=2).sqrt().cpu().numpy(),
        solution.nfe,
    )


def spherical(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Spherical interpolation between noise a and b, each (B, *), at shares (K,): (B, K, *).

    In many dimensions it keeps the norm of normal noise, unlike linear interpolation (Song et al.
    2020, https://arxiv.org/abs/2010.02502, eq. 67).
    """
    flat_a, flat_b = a.double().flatten(1), b.double().flatten(1)
    lengths = flat_a.norm(dim=1) * flat_b.norm(dim=1)
    angle = torch.acos(((flat_a * flat_b).sum(dim=1) / lengths).clamp(-1, 1))[:, None, None]
    s = shares.double()[None, :, None]
    safe = torch.sin(angle).clamp_min(1e-12)
    equal = angle < 1e-6  # equal noise
    weight_a = torch.where(equal, 1 - s, torch.sin((1 - s) * angle) / safe)
    weight_b = torch.where(equal, s, torch.sin(s * angle) / safe)
    points = weight_a * flat_a[:, None] + weight_b * flat_b[:, None]
    return points.to(a).reshape(len(a), len(shares), *a.shape[1:])


def interpolation(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    to_seed: int,
    steps: int = 8,
) -> NDArray[np.uint8]:
    """Images of noise interpolated spherically from the config's seed to `to_seed`.

    Returns:
        (n, steps, C, H, W): a row for each of the config's images, of one class.
    """
    first, last = (noise(config.n, seed, checkpoint.shape) for seed in (config.seed, to_seed))
    between = spherical(first, last, torch.linspace(0, 1, steps))
    y = labels_of(checkpoint, config)
    repeated_classes = None if y is None else y.repeat_interleave(steps)
    images = draw_images(checkpoint, config, between.flatten(0, 1), repeated_classes)
    return images.reshape(config.n, steps, *checkpoint.shape)


def all_classes(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
) -> NDArray[np.uint8]:
    """Images of all K classes from the same noise: (n, K, C, H, W), a row for each noise.

    Raises:
        ValueError: the checkpoint has no classes.
    """
    if not checkpoint.conditional:
        raise ValueError(f"{checkpoint.card.name} was trained without classes.")
    num_classes = checkpoint.field.num_classes
    repeated_noise = noise(config.n, config.seed, checkpoint.shape).repeat_interleave(
        num_classes, dim=0
    )
    y = torch.arange(num_classes).repeat(config.n)
    images = draw_images(checkpoint, config, repeated_noise, y)
    return images.reshape(config.n, num_classes, *checkpoint.shape)


def pixel_straightness(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    tol: float = 1e-3,
) -> Straightness:
    """Straightness of the trajectories of the config's n images, summed over pixels.

    Trajectories are solved by Dormand and Prince's method at `tol` and observed at 161 times:
    about 300 evaluations per image, or twice as many passes with guidance.

    Raises:
        ValueError, SolveError: as `sample`.
    """
    field, x_0 = field_and_noise(checkpoint, config)
    return marginal_straightness(field, x_0, tol=tol, control="mean")


def adaptive_steps(
    checkpoint: ImageCheckpoint,
    config: ImageConfig,
    *,
    tol: float = 1e-3,
) -> dict[str, Any]:
    """The steps of Dormand and Prince's method for the config's images.

    Returns:
        {"tol", "n", "guidance", "nfe", "times", "rejected"}: `times` are the starts of the
        accepted steps and the end of the last, `rejected` starts and lengths of the others.
    """
    adaptive = replace(config, solver="dopri5", tol=tol)
    (part,) = sample(checkpoint, adaptive, batch=config.n)
    return {
        "tol": tol,
        "n": config.n,
        "guidance": config.guidance if config.classes else None,
        "nfe": part.nfe,
        "times": part.step_times.tolist(),
        "rejected": part.rejected.tolist(),
    }
