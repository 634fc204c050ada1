"""Output of commands: progress bars, tables, numbers for JSON; and the loop of a training."""

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from flowviz.training import TrainingRun

SAME_REQUEST = 2.0
"""Seconds after a signal during which further ones are ignored as repetitions of it."""


@contextmanager
def signals(stops: list[int]) -> Iterator[None]:
    """A context in which the first SIGINT, SIGTERM or SIGHUP is appended to `stops`, no more.

    SIGHUP, which a closed terminal sends, stays ignored if it was before, as under `nohup`.
    Signals within SAME_REQUEST seconds of it are ignored, since torchrun repeats that of the
    manager that ended it; later ones have their usual effect.
    """
    first: list[float] = []

    def note(number: int, frame: object) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            stops.append(number)
        elif now - first[0] > SAME_REQUEST:
            for kind, handler in handlers.items():
                signal.signal(kind, handler)
            signal.raise_signal(number)

    kinds = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        kinds.append(hang_up)
    handlers = {kind: signal.getsignal(kind) for kind in kinds}
    for kind in handlers:
        signal.signal(kind, note)
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)


class Progress:
    """A progress bar on standard error, shown if that is a terminal."""

    def __init__(self, label: str) -> None:
        self.label = label
        # Of several processes only the first shows it.
        self.visible = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
        self.start = time.monotonic()
        self.first: int | None = None
        self.last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def due(self) -> bool:
        """Whether the bar is shown and was drawn at least 0.1 s ago."""
        return self.visible and time.monotonic() - self.last >= 0.1

    def show(self, done: int, total: int, note: str = "") -> None:
        """Draws the bar at `done` of `total`, with an estimate of the remaining time."""
        if not self.visible or (not self.due() and done < total):
            return
        self.last = now = time.monotonic()
        self.first = done if self.first is None else self.first
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f"{(total - done) / rate:.0f} s left" if rate else ""
        full = 24 * done // max(1, total)
        bar = "#" * full + "." * (24 - full)
        line = f"{self.label} [{bar}] {done}/{total}  {note}  {left}".rstrip()
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line of the bar."""
        if self.visible and self.first is not None:
            print(file=sys.stderr)


def supervise(
    runs: "Generator[TrainingRun]",
    *,
    deadline: float | None,
    on_step: "Callable[[TrainingRun, bool], None] | None" = None,
) -> "tuple[TrainingRun | None, int]":
    """Advances a training until its last step, SIGINT, SIGTERM, SIGHUP or the deadline.

    Args:
        runs: yields the run after each step; closed at the end.
        deadline: in `time.monotonic()` seconds; None for no limit.
        on_step: called with the run and whether this step is the last of the call.

    Returns:
        The run, None if there was no step left, and the exit code, 128 + N after signal N.
    """
    progress, stops, run = Progress("training"), [], None
    with signals(stops), closing(runs), progress:
        for run in runs:
            is_over = deadline is not None and time.monotonic() >= deadline
            last = run.processes.any(bool(stops or is_over)) or run.done
            if last or progress.due():
                progress.show(run.step, run.steps, f"loss {run.loss.item():.4f}")
            if on_step is not None:
                on_step(run, last)
            if last:
                break
    if run is not None and stops and run.processes.first:
        print(
            f"flowviz: interrupted at step {run.step} of {run.steps}; the state is saved, and "
            "--resume continues the run.",
            file=sys.stderr,
        )
    return run, 128 + stops[0] if stops and run is not None else 0


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under a header in aligned columns, numbers to the right."""
    texts = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    print("  ".join(text.ljust(width) for text, width in zip(head, widths, strict=True)).rstrip())
    for row, values in zip(texts, rows, strict=True):
        cells = [
            text.rjust(width) if isinstance(value, int | float) else text.ljust(width)
            for text, width, value in zip(row, widths, values, strict=True)
        ]
        print("  ".join(cells).rstrip())


def rounded(value: object) -> Any:
    """The same lists and dicts with floats rounded to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
