"""A training run on images in a folder: it can be killed at any moment and goes on to the bit.

config.json                     what is trained, and whether torch.compile prepares the network
log.jsonl                       a line every LOG_EVERY steps
state-000012000.safetensors     all that the next step depends on; the last KEPT of them
snapshot-005.safetensors        averaged weights in half precision after 5% of the steps
grid-000012000.png              a row of samples a class, from the same noise every time

Of several processes at one run the first writes and all resume. How many there are may change, and
so may the device, neither of which is kept; the run then goes on but for the last digits.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flowviz.datasets.images import ImageSet, image_set
from flowviz.distributed import ALONE, Processes
from flowviz.fields import LearnedField
from flowviz.fields.guided import GuidedField
from flowviz.files import held, write_bytes, write_text
from flowviz.solvers import solve
from flowviz.training import rest
from flowviz.training.images import ImageTrainConfig, ImageTrainState

__all__ = ["SNAPSHOTS", "read_config", "run_images", "sample_grid"]

FORMAT = "flowviz-image-run"
SNAPSHOTS = (5, 10, 25, 50, 100)
"""After how many percent of the steps the averaged weights are kept."""
KEPT = 2
"""Saved states that stay; the older one is for the case that the newer cannot be read."""
LOG_EVERY = 100
"""Steps between two lines of the log."""
GRID_ROWS = 10
"""Most classes in a grid of samples."""


def read_config(folder: str | Path) -> ImageTrainConfig:
    """The config of the run in a folder.

    Raises:
        ValueError: there is no run, or its config cannot be read.
    """
    return rest.config_in(folder, ImageTrainConfig, FORMAT)


def run_images(
    config: ImageTrainConfig,
    folder: str | Path,
    data: ImageSet | None = None,
    *,
    device: torch.device | None = None,
    compiled: bool | None = None,
    resume: bool = False,
    save_every: float = 300.0,
    grid_every: int = 100_000,
    processes: Processes = ALONE,
) -> Iterator[ImageTrainState]:
    """Yields the state of the run in `folder` after each step, keeping the folder up to date.

    Closing the iterator between two steps saves the state; so does the last step. A run that is
    killed at any other moment goes on from its last saved state, as if nothing had happened.

    Args:
        config: what to train.
        folder: of this run alone; it is made if need be.
        data: the image set of the config; read from its usual place by default.
        device: where; the CPU by default.
        compiled: see `train_images`; by default not, or what a resumed run was begun with, which
            it must keep to go on to the bit.
        resume: go on with the run in the folder, which must be of the same config.
        save_every: seconds between two saved states.
        grid_every: images between two grids of samples; 0 draws none.
        processes: this one and those at the same run, which see the same folder.

    Raises:
        ValueError: the folder holds another run, or `resume` was not given.
    """
    folder = Path(folder)
    if resume:
        if read_config(folder) != config:
            raise ValueError(f"The run in {folder} has another config; resume it with its own.")
        kept = _compiled(folder)
        if compiled is not None and compiled != kept:
            raise ValueError(
                f"A resumed run keeps its settings: compiled is {kept}, got {compiled}; leave the "
                "option out or train afresh."
            )
        compiled = kept
    elif (folder / "config.json").exists():
        raise ValueError(f"There is a run in {folder} already; resume it or name another folder.")
    place = folder / "config.json"
    processes.wait()  # until all have seen the folder as it was
    with ExitStack() as stack:
        if resume and processes.first:
            stack.enter_context(held(place))
        data = data or image_set(config.data)
        device = device or torch.device("cpu")
        state = ImageTrainState(config, data, device, compiled=bool(compiled), processes=processes)
        # Training time so far; losses since the last line.
        progress = {"seconds": 0.0, "loss": 0.0}
        if resume:
            saved = _latest(folder)
            if saved is not None:
                tensors, progress = saved
                state.restore(tensors)
                del tensors
        processes.wait()  # until all have read what the first may replace
        if resume and processes.first:
            rest.cut_log(folder / "log.jsonl", state.step)
        elif processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            about = {"format": FORMAT, "version": 1, "compiled": bool(compiled)}
            content = about | {"config": asdict(config)}
            write_text(place, json.dumps(content, indent=2) + "\n")
            stack.enter_context(held(place))
        yield from _advanced(state, folder, data, progress, save_every, grid_every)


def _advanced(
    state: ImageTrainState,
    folder: Path,
    data: ImageSet,
    progress: dict[str, float],
    save_every: float,
    grid_every: int,
) -> Iterator[ImageTrainState]:
    """The state after each further step, the folder kept up to date by the first process."""
    config, processes = state.config, state.processes
    snapshots = {math.ceil(config.steps * percent / 100): percent for percent in SNAPSHOTS}
    grid_steps = max(1, grid_every // config.batch)

    saved_at = lap = time.perf_counter()
    try:
        while not state.done:
            state.advance(data)
            loss = state.loss.item()
            if not math.isfinite(loss):
                raise ValueError(
                    f"The training diverged at step {state.step}: its loss is not a number; "
                    "take a lower lr."
                )
            now = time.perf_counter()
            progress["seconds"] += now - lap
            progress["loss"] += loss
            lap = now
            if state.step % LOG_EVERY == 0 or state.done:
                if processes.first:
                    _log(folder / "log.jsonl", state, progress)
                progress["loss"] = 0.0
            if processes.first:
                if state.step in snapshots:
                    _snapshot(folder, state, snapshots[state.step])
                if grid_every and (state.step % grid_steps == 0 or state.done):
                    grid = _png(sample_grid(state, data))
                    write_bytes(folder / f"grid-{state.step:09d}.png", grid)
                if state.done or now - saved_at >= save_every:
                    _save(folder, state, progress)
                    saved_at = time.perf_counter()
            lap = time.perf_counter()
            yield state
    except GeneratorExit:
        if processes.first:
            _save(folder, state, progress)
        raise


@torch.no_grad()
def sample_grid(
    state: ImageTrainState, data: ImageSet, *, columns: int = 8, guidance: float = 2.0
) -> Tensor:
    """Samples of the averaged weights, (rows * (H + 2), columns * (W + 2), C) uint8.

    Each row is a class where the network knows classes, guided; midpoint, NFE 20, one fixed noise.
    """
    rows = min(GRID_ROWS, len(data.classes))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(
        (rows * columns, data.channels, data.size, data.size), generator=generator
    ).to(state.device)
    field: LearnedField | GuidedField = state.ema
    if state.config.classes:
        y = torch.arange(rows, device=state.device).repeat_interleave(columns)
        field = GuidedField(state.ema, y, guidance)
    path = state.ema.path
    times = torch.tensor([0.0, path.t_max], dtype=torch.float64)
    solution = solve(field, path.start(noise), times, "midpoint", steps=10)
    images = data.from_unit(solution.states[-1].float().cpu())
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=255)
    framed = framed.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)
    return framed.flatten(2, 3).flatten(0, 1)


def _compiled(folder: Path) -> bool:
    """Whether the run in a folder, whose config can be read, is compiled; early ones are not."""
    path = folder / "config.json"
    kept = json.loads(path.read_text()).get("compiled", False)
    if not isinstance(kept, bool):
        raise ValueError(f"{path} is damaged: compiled must be true or false; got {kept!r}.")
    return kept


def _png(pixels: Tensor) -> bytes:
    array = pixels.numpy()
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else np.ascontiguousarray(array))
    buffer = BytesIO()
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def _save(folder: Path, state: ImageTrainState, progress: dict[str, float]) -> None:
    about = {FORMAT: json.dumps({"version": 1, "progress": progress})}
    content = safetensors.torch.save(state.tensors(), about)
    write_bytes(folder / f"state-{state.step:09d}.safetensors", content)
    for old in _states(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def _latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, float]] | None:
    """The newest saved state that can be read and its progress; None if none was saved yet."""
    found = _states(folder)
    for path in found:
        try:
            with safe_open(path, "pt") as file:
                about = json.loads(file.metadata()[FORMAT])
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            return tensors, {key: float(about["progress"][key]) for key in ("seconds", "loss")}
        except (SafetensorError, KeyError, TypeError, ValueError):
            continue  # an older one follows
    if found:
        raise ValueError(f"None of the saved states in {folder} can be read; start afresh.")
    return None


def _states(folder: Path) -> list[Path]:
    """The saved states, newest first."""
    return sorted(folder.glob("state-*.safetensors"), reverse=True)


def _snapshot(folder: Path, state: ImageTrainState, percent: int) -> None:
    weights = {
        name: value.half().cpu().contiguous()
        for name, value in state.ema.network.state_dict().items()
    }
    about: dict[str, Any] = {"step": state.step, "config": asdict(state.config)}
    content = safetensors.torch.save(weights, {FORMAT: json.dumps(about)})
    write_bytes(folder / f"snapshot-{percent:03d}.safetensors", content)


def _log(path: Path, state: ImageTrainState, progress: dict[str, float]) -> None:
    since = (state.step - 1) % LOG_EVERY + 1
    line = {
        "step": state.step,
        "images": state.step * state.config.batch,
        "loss": progress["loss"] / since,
        "gradient_norm": state.gradient_norm.item(),
        "lr": state.lr,
        "seconds": round(progress["seconds"], 1),
    }
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
