"""Bits per dimension of real images under the flow of a checkpoint."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowviz.checkpoints.images import ImageCheckpoint
from flowviz.densities import LogProb, draw_probes, log_prob, normal_log_prob
from flowviz.draws import stream
from flowviz.experiments.images import ClassField


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of real images under a flow, see `bits_per_dimension`.

    Attributes:
        bits: (n,) bits per dimension of each image.
        probe_error: (n,) standard error from Hutchinson's probes alone; None for one probe.
        nfe: number of evaluations, each with one backward pass per probe; the maximum over the
            batches.
    """

    bits: NDArray[np.float64]
    probe_error: NDArray[np.float64] | None
    nfe: int

    @property
    def mean(self) -> float:
        """Mean over the images."""
        return float(self.bits.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean over images, dequantisation and probes; NaN for one image."""
        n = len(self.bits)
        return float(self.bits.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def bits_per_dimension(
    checkpoint: ImageCheckpoint,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    probes: int = 1,
    draws: int = 1,
    tol: float = 1e-5,
    seed: int = 0,
    batch: int = 16,
    device: torch.device | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Bits:
    r"""Bits per dimension of images under the flow (Lipman et al. 2022, app. C).

    Each pixel in 0..255 is dequantised uniformly, u in [0, 1)^d. The density of the flow is
    evaluated there at t_max, its divergence estimated by Hutchinson's `probes`:

        -log2(1/K sum_k p((x + u_k - 1/2) / 127.5 - 1)) / d + log2(127.5)

    with K = `draws` (eq. 47). The noise left at t_max is far below one level. With one draw the
    mean over images is an upper bound of the code length; more draws tighten it, but bias it down
    through the errors of the probes.

    Args:
        checkpoint: with the flow.
        images: (n, C, H, W) uint8.
        labels: classes (n,), for the density given the class; None for no class.
        probes: number of random probes per draw; at least two give `probe_error`.
        draws: number of dequantisations per image.
        tol: of Dormand and Prince's method, relative and absolute.
        seed: of dequantisation and probes.
        batch: draws solved together; the solver's steps depend on it.
        device: where to compute; the checkpoint's own by default.
        on_batch: called with the number of draws done.

    Raises:
        ValueError: the images do not fit the checkpoint, or a number is below 1.
        SolveError: as `flowviz.solvers.solve`.
    """
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != checkpoint.shape:
        raise ValueError(
            f"images must be uint8 of shape (n, {', '.join(map(str, checkpoint.shape))}); got "
            f"{images.dtype} {tuple(images.shape)}."
        )
    if probes < 1 or draws < 1:
        raise ValueError(f"probes and draws must be 1 or more; got {probes} and {draws}.")
    if device is not None:
        checkpoint.field.to(device)
    generator = stream(seed, "dequantisation")
    repeated = images.repeat_interleave(draws, dim=0).float()
    x = (repeated + torch.rand(repeated.shape, generator=generator) - 0.5) / 127.5 - 1
    y = None if labels is None else labels.repeat_interleave(draws)
    results = []
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        probe = draw_probes(x[part], probes, generator)
        classes = None if y is None else y[part]
        results.append(_log_prob(checkpoint, x[part], classes, probe, tol))
        if on_batch is not None:
            on_batch(min(start + batch, len(x)))
    unit = images[0].numel() * math.log(2)
    log_probs = torch.cat([result.log_prob.cpu().double() for result in results]).reshape(
        -1, draws
    )
    log_p = torch.logsumexp(log_probs, dim=1) - math.log(draws)
    error = None
    if probes > 1:
        errors = torch.cat([result.error.cpu().double() for result in results]).reshape(-1, draws)
        weights = torch.softmax(log_probs, dim=1)  # the share of each draw in the sum
        error = (weights * errors).square().sum(dim=1).sqrt().numpy() / unit
    bits = (-log_p / unit + math.log2(127.5)).numpy()
    return Bits(bits, error, max(result.nfe for result in results))


def _log_prob(
    checkpoint: ImageCheckpoint,
    x: Tensor,
    y: Tensor | None,
    probe: Tensor,
    tol: float,
) -> LogProb:
    """The log density at x (B, C, H, W), given classes y (B,) or None."""
    path, device = checkpoint.field.path, next(checkpoint.field.parameters()).device
    return log_prob(
        ClassField(checkpoint, None if y is None else y.to(device)),
        x.to(device),
        t_max=path.t_max,
        tol=tol,
        control="mean",  # on which shipped measurements rest
        log_prior=partial(normal_log_prob, std=path.scheduler.sigma_0),
        probe=probe.to(device),
    )
