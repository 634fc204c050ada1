"""A self-test of a machine: closed forms, devices, solvers, checkpoints and speeds.

Each check compares two computations of one quantity. It takes less than a minute on a CPU.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flowviz import checkpoints
from flowviz.checkpoints.images import find_images, load_classifier, load_images
from flowviz.datasets import dataset
from flowviz.device import finest_float
from flowviz.draws import noise
from flowviz.fields import exact_field
from flowviz.methods import METHODS
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.solvers import solve, steps_for
from flowviz.training import TrainConfig, train

KINDS = {"Gaussians": "8gaussians", "boxes": "checkerboard", "points": "word:A"}
"""A data set for each kind of exact field."""

TF32 = 3e-3
"""Relative error of convolutions, for which CUDA rounds to 10 bits."""

T_LAST = 0.9
"""Time at which solves end: the order of a method shows where the field is smooth."""


@dataclass(frozen=True)
class Check:
    """A comparison with its bound, or a measured number without one.

    Attributes:
        group: what is tested.
        name: the case.
        value: the error, or the number.
        bound: largest error that passes; None for a number that is only reported.
        unit: of the value.
        least: whether the bound is the smallest value that passes instead.
        note: what went wrong, if it could not be computed.
    """

    group: str
    name: str
    value: float
    bound: float | None = None
    unit: str = ""
    least: bool = False
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound; NaN does not."""
        if self.note:
            return False
        if self.bound is None:
            return True
        return self.value >= self.bound if self.least else self.value <= self.bound


def checks(device: torch.device) -> Iterator[Check]:
    """All checks on a device, as soon as each is known."""
    for group in (checkpoint_hashes, schedules, closed_forms, orders):
        yield from group()
    yield from fields_on(device)
    yield from solvers_on(device)
    yield from speeds(device)


def checkpoint_hashes() -> Iterator[Check]:
    """Whether the weights of each checkpoint have the sha256 that its card states."""
    files: dict[str, Callable] = dict.fromkeys(checkpoints.names(), checkpoints.load)
    files |= dict.fromkeys(find_images("field"), load_images)
    files |= dict.fromkeys(find_images("classifier"), load_classifier)
    damaged = 0
    for name, load in files.items():
        try:
            load(name)
        except ValueError as error:
            damaged += 1
            yield Check("checkpoints", name, 1, 0, note=str(error))
    yield Check("checkpoints", f"{len(files)} files have the weights of their cards", damaged, 0)


def schedules() -> Iterator[Check]:
    """Derivatives of alpha and sigma against automatic differentiation."""
    for name in SCHEDULERS:
        path = scheduler(name)
        t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).requires_grad_() * path.t_max
        t.retain_grad()
        c = path(t)
        error = 0.0
        for value, slope in ((c.alpha, c.d_alpha), (c.sigma, c.d_sigma)):
            if value.requires_grad:
                (derivative,) = torch.autograd.grad(value.sum(), t, retain_graph=True)
            else:
                derivative = torch.zeros_like(t)
            error = max(error, _relative(slope.detach(), derivative))
        yield Check("schedule against autograd", name, error, 1e-9)


def closed_forms() -> Iterator[Check]:
    """Score and divergence of exact fields against automatic differentiation."""
    x = noise(64, 0).double() * 2
    for kind, data in KINDS.items():
        for path in ("ot", "vp"):
            field = exact_field(AffinePath(scheduler(path)), dataset(data).distribution)
            t = torch.tensor(0.6, dtype=torch.float64)
            point = x.clone().requires_grad_()
            (score,) = torch.autograd.grad(field.log_density(t, point).sum(), point)
            case, error = f"{kind}, {path}", _relative(field.score(t, x), score)
            yield Check("score against autograd", case, error, 1e-9)
            point = x.clone().requires_grad_()
            velocity = field(t, point)
            slopes = [
                torch.autograd.grad(velocity[:, k].sum(), point, retain_graph=True)[0][:, k]
                for k in range(2)
            ]
            exact = slopes[0] + slopes[1]
            error = _relative(field.divergence(t, x), exact)
            yield Check("divergence against autograd", case, error, 1e-9)


def orders() -> Iterator[Check]:
    """The order of convergence of each method with fixed steps, on a smooth field."""
    field = exact_field(AffinePath(scheduler("ot")), dataset("mixture:-1,0;1,0@0.8").distribution)
    x_0, times = noise(32, 0).double(), torch.tensor([0.0, T_LAST], dtype=torch.float64)
    exact = solve(field, x_0, times, "dopri8", tol=1e-12).states[-1]
    for name, method in METHODS.items():
        if method.adaptive or method.jumps:
            continue
        errors = [
            (solve(field, x_0, times, name, steps=steps).states[-1] - exact).square().mean().sqrt()
            for steps in (24, 48)
        ]
        order = torch.log2(errors[0] / errors[1]).item()
        yield Check("order of convergence", name, order, method.order - 0.3, least=True)


def fields_on(device: torch.device) -> Iterator[Check]:
    """Each kind of field on the device against float64 on the CPU."""
    x, t = 1.5 * noise(512, 0), torch.tensor(0.6, dtype=torch.float64)
    for kind, data in KINDS.items():
        field = exact_field(AffinePath(scheduler("ot")), dataset(data).distribution)
        yield _compared("exact field on the device", kind, field, field, t, x, device)
    for name in ("checkerboard-ot", "checkerboard-vp", "checkerboard-learned"):
        if name in checkpoints.names():
            field = checkpoints.load(name).field
            reference = copy.deepcopy(field).double()
            on_device = copy.deepcopy(field).to(device)
            yield _compared("network on the device", name, on_device, reference, t, x, device)
    for name in find_images("field"):
        checkpoint = load_images(name)
        pixels = noise(2, 0, checkpoint.shape)
        reference, on_device = (
            copy.deepcopy(checkpoint.field).double(),
            copy.deepcopy(checkpoint.field).to(device),
        )
        yield _compared("U-Net on the device", name, on_device, reference, t, pixels, device, TF32)


def _compared(
    group: str,
    name: str,
    on_device: Callable,
    reference: Callable,
    t: Tensor,
    x: Tensor,
    device: torch.device,
    bound: float = 1e-4,
) -> Check:
    """The relative error of single precision on a device."""
    with torch.no_grad():
        value = on_device(t.to(device, finest_float(device)), x.to(device)).cpu().double()
        return Check(group, name, _relative(value, reference(t, x.double())), bound)


def solvers_on(device: torch.device) -> Iterator[Check]:
    """Each method on the device against the CPU in float64, for a network."""
    field = checkpoints.load("checkerboard-ot").field
    reference, on_device = copy.deepcopy(field).double(), copy.deepcopy(field).to(device)
    x_0, times = noise(256, 0), torch.tensor([0.0, T_LAST], dtype=torch.float64)
    for name, method in METHODS.items():
        if method.jumps:
            continue
        budget: dict[str, Any] = {"tol": 1e-5} if method.adaptive else {"steps": 16}
        device_end = (
            solve(on_device, x_0.to(device), times, name, **budget).states[-1].cpu().double()
        )
        reference_end = solve(reference, x_0.double(), times, name, **budget).states[-1]
        yield Check("solver on the device", name, _relative(device_end, reference_end), 1e-3)


def speeds(device: torch.device) -> Iterator[Check]:
    """Training and sampling per second: numbers, not judged."""
    config, done, start = TrainConfig(steps=10_000), 0, 0.0
    for run in train(config, dataset(config.data), device=device):
        if run.step == 20:  # the first steps are slow
            run.loss.item()
            start = time.perf_counter()
        if run.step > 20 and run.step % 20 == 0:
            run.loss.item()  # waits for the device
            done = run.step - 20
            if time.perf_counter() - start > 2:
                break
    rate = done / (time.perf_counter() - start)
    yield Check("speed", f"training, batch {config.batch}", rate, unit="steps/s")
    field = checkpoints.load("checkerboard-ot").field.to(device)
    x_0, times = noise(10_000, 0).to(device), field.path.clock(2)
    steps = steps_for("midpoint", 20)
    solve(field, x_0, times, "midpoint", steps=1).states.cpu()
    start = time.perf_counter()
    solve(field, x_0, times, "midpoint", steps=steps).states.cpu()
    rate = len(x_0) / (time.perf_counter() - start)
    yield Check("speed", "sampling in the plane, NFE 20", rate, unit="samples/s")
    for name in list(find_images("field"))[:1]:
        loaded = load_images(name)
        network, pixels = loaded.field.to(device), noise(8, 0, loaded.shape).to(device)
        t = torch.tensor(0.5, dtype=finest_float(device), device=device)
        with torch.no_grad():
            network(t, pixels).cpu()
            start = time.perf_counter()
            network(t, pixels).cpu()
        rate = len(pixels) / (time.perf_counter() - start)
        yield Check("speed", f"U-Net {name}", rate, unit="evaluations/s")


def _relative(value: Tensor, exact: Tensor) -> float:
    """The largest error over the largest value."""
    return ((value - exact).abs().max() / exact.abs().max().clamp(min=1e-12)).item()
