"""Training runs in folders. A run that is killed at any moment continues bit for bit.

config.json                     the config, and whether torch.compile prepares the model
log.jsonl                       a line every `log_every` steps
state-000012000.safetensors     all that the next step depends on; the last KEPT_STATES of them
and what the run's `outputs` gives, such as snapshots of the weights and samples.

Of several processes that train one run, the first writes and all read. Neither their number nor
the device is saved: if one of them changes, the run continues but for the last digits.
"""

import json
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flowviz.distributed import ALONE, Processes
from flowviz.files import locked, write_bytes, write_text
from flowviz.training.run import TrainingConfig, TrainingRun, start

KEPT_STATES = 2
"""Number of saved states that stay; the older one is used if the newer cannot be read."""

C = TypeVar("C", bound=TrainingConfig)


def train_in_folder(
    config: TrainingConfig,
    folder: str | Path,
    data: Any,
    *,
    device: torch.device | None = None,
    compiled: bool | None = None,
    resume: bool = False,
    save_every: float = 300.0,
    processes: Processes = ALONE,
    **options: Any,
) -> Generator[TrainingRun, None, None]:
    """Yields the run after each step and keeps its folder up to date.

    Closing the iterator between two steps saves the state; so does the last step.

    Args:
        config: what to train.
        folder: of this run alone; created if it does not exist.
        data: the data set that `config.data` names.
        device: where to compute; the CPU by default.
        compiled: whether torch.compile prepares the model; by default no, or as the resumed run,
            which must keep it.
        resume: continue the run in the folder, which must have the same config.
        save_every: seconds between two saved states.
        processes: this process and those that train with it; all see the same folder.
        options: of the config's `TrainingRun`.

    Raises:
        ValueError: the folder has another run, or one and `resume` is not set; the run is in use
            by another process; or the loss is no longer finite.
    """
    folder = Path(folder)
    if resume:
        compiled = _compiled(config, folder, compiled)
    elif (folder / "config.json").exists():
        raise ValueError(f"There is a run in {folder} already; resume it or name another folder.")
    processes.wait()  # until all have seen the folder as it was
    with ExitStack() as stack:
        if resume and processes.first:
            stack.enter_context(locked(folder / "config.json"))
        run = start(config, data, device, compiled=bool(compiled), processes=processes, **options)
        progress = _restore(run, folder) if resume else _Progress()
        processes.wait()  # until all have read what the first may replace
        if resume and processes.first:
            _cut_log(folder / "log.jsonl", run.step)
        elif processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            content = {"format": config.FORMAT, "version": 1, "compiled": bool(compiled)}
            content |= {"config": asdict(config)}
            write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")
            stack.enter_context(locked(folder / "config.json"))
        yield from _advanced(run, folder, progress, save_every)


def read_config(folder: str | Path, kind: type[C]) -> C:
    """The config of the run in a folder.

    Raises:
        ValueError: there is no run of this kind, or its config is damaged.
    """
    path, content = _content(folder, kind)
    try:
        return kind.from_dict(content["config"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: an entry is missing or wrong.") from error
    except ValueError as error:
        raise ValueError(f"{path} is invalid. {error}") from error


def saved_run(config: TrainingConfig, folder: str | Path, data: Any) -> tuple[TrainingRun, float]:
    """The run as it was last saved in a folder, and the seconds that it has trained.

    Raises:
        ValueError: no state was saved, none can be read, or they are of another config.
    """
    run = start(config, data)
    if not _states(Path(folder)):
        raise ValueError(f"The run in {folder} has no saved state; train it first.")
    return run, _restore(run, Path(folder)).seconds


class _Progress:
    """Training time so far, and sum and number of the losses since the last line of the log."""

    def __init__(self, seconds: float = 0.0, loss: float = 0.0, steps: int = 0) -> None:
        self.seconds, self.loss, self.steps = seconds, loss, steps


def _advanced(
    run: TrainingRun, folder: Path, progress: _Progress, save_every: float
) -> Iterator[TrainingRun]:
    """The run after each further step; the first process writes."""
    first = run.processes.first
    saved_at = lap = time.perf_counter()
    try:
        while not run.done:
            run.advance()
            loss = run.loss.item()
            if not math.isfinite(loss):
                raise ValueError(
                    f"The training diverged at step {run.step}: its loss is not finite; "
                    "use a lower lr."
                )
            now = time.perf_counter()
            progress.seconds += now - lap
            progress.loss += loss
            progress.steps += 1
            if run.step % run.log_every == 0 or run.done:
                if first:
                    _log(folder / "log.jsonl", run, progress)
                progress.loss, progress.steps = 0.0, 0
            if first:
                for name, content in run.outputs().items():
                    write_bytes(folder / name, content)
                if run.done or now - saved_at >= save_every:
                    _save(folder, run, progress)
                    saved_at = time.perf_counter()
            lap = time.perf_counter()
            yield run
    except GeneratorExit:
        if first:
            _save(folder, run, progress)
        raise


def _content(folder: str | Path, kind: type[TrainingConfig]) -> tuple[Path, dict[str, Any]]:
    """A run's config.json: the file and its entries."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"There is no run to resume: {path} does not exist.")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is not JSON.") from error
    if not isinstance(content, dict) or content.get("format") != kind.FORMAT:
        raise ValueError(f"{path} must have the format {kind.FORMAT!r}; it is of another kind.")
    return path, content


def _compiled(config: TrainingConfig, folder: Path, compiled: bool | None) -> bool:
    """Whether the run in a folder, which must have this config, is compiled."""
    if read_config(folder, type(config)) != config:
        raise ValueError(f"The run in {folder} has another config; resume it with its own.")
    path, content = _content(folder, type(config))
    saved = content.get("compiled", False)  # early runs do not state it
    if not isinstance(saved, bool):
        raise ValueError(f"{path} is damaged: compiled must be true or false; got {saved!r}.")
    if compiled not in (None, saved):
        raise ValueError(
            f"A resumed run keeps its settings: compiled is {saved}, got {compiled}; omit the "
            "option or start a new run."
        )
    return saved


def _save(folder: Path, run: TrainingRun, progress: _Progress) -> None:
    metadata = {run.config.FORMAT: json.dumps({"version": 1, "progress": vars(progress)})}
    content = safetensors.torch.save(run.saved_state(), metadata)
    write_bytes(folder / f"state-{run.step:09d}.safetensors", content)
    for old in _states(folder)[KEPT_STATES:]:
        old.unlink(missing_ok=True)


def _restore(run: TrainingRun, folder: Path) -> _Progress:
    """Continues a run from the newest state that can be read, if any was saved."""
    paths = _states(folder)
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                metadata = json.loads(file.metadata()[run.config.FORMAT])
                names = file.keys()
                saved_state: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
            # Early classifiers state the seconds alone, early images no number of steps.
            saved = metadata.get("progress", metadata)
            seconds, loss = float(saved["seconds"]), saved.get("loss")
            steps = 0 if loss is None else int(saved_state["step"]) % run.log_every
            progress = _Progress(seconds, float(loss or 0.0), int(saved.get("steps", steps)))
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError):
            continue  # with an older one
        run.restore(saved_state)
        return progress
    if paths:
        raise ValueError(f"None of the saved states in {folder} can be read; start a new run.")
    return _Progress()


def _states(folder: Path) -> list[Path]:
    """The saved states, newest first; early classifiers have one without a number."""
    return [
        *sorted(folder.glob("state-*.safetensors"), reverse=True),
        *folder.glob("state.safetensors"),
    ]


def _log(path: Path, run: TrainingRun, progress: _Progress) -> None:
    line = {
        "step": run.step,
        "loss": progress.loss / progress.steps,
        "gradient_norm": run.gradient_norm.item(),
        "lr": run.lr,
        "seconds": round(progress.seconds, 1),
    }
    with path.open("a") as file:
        file.write(json.dumps(line | run.log_entry()) + "\n")


def _cut_log(path: Path, step: int) -> None:
    """Drops lines after `step` and an incomplete line, which a killed run may have written."""
    if not path.exists():
        return
    lines = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break
        lines.append(line + "\n")
    write_text(path, "".join(lines))
