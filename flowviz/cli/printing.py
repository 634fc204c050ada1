"""What commands say while they work and when they end: a bar, tables, JSON's numbers."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SAME_WISH = 2.0
"""Seconds after a signal within which another one asks for nothing more."""


@contextmanager
def signals(stops: list[int]) -> Iterator[None]:
    """Within it the first SIGINT or SIGTERM is noted in `stops`; a later one acts as ever.

    One within SAME_WISH seconds is the same wish told twice, as by torchrun and by the manager
    that ended it.
    """
    first: list[float] = []

    def note(number: int, frame: object) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            stops.append(number)
        elif now - first[0] > SAME_WISH:
            for kind, handler in before.items():
                signal.signal(kind, handler)
            signal.raise_signal(number)

    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in before:
        signal.signal(kind, note)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


class Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, what: str) -> None:
        self.what = what
        # Of several processes at one terminal the first alone draws.
        self.shown = sys.stderr.isatty() and os.environ.get("RANK", "0") == "0"
        self.start = time.monotonic()
        self.first: int | None = None
        self.last = 0.0

    def due(self) -> bool:
        """Whether a tenth of a second has gone since the bar was drawn."""
        return self.shown and time.monotonic() - self.last >= 0.1

    def show(self, done: int, total: int, note: str = "") -> None:
        """Draws the bar at `done` of `total`, with the time left at the rate so far."""
        if not self.shown or (not self.due() and done < total):
            return
        self.last = now = time.monotonic()
        self.first = done if self.first is None else self.first
        rate = (done - self.first) / max(now - self.start, 1e-9)
        left = f"{(total - done) / rate:.0f} s left" if rate else ""
        full = 24 * done // max(1, total)
        bar = "#" * full + "." * (24 - full)
        line = f"{self.what} [{bar}] {done}/{total}  {note}  {left}".rstrip()
        print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the bar's line."""
        if self.shown and self.first is not None:
            print(file=sys.stderr)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows under a head, columns as wide as need be, numbers to the right."""
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
    """The same lists and dicts, their floats to six digits, which is more than a sample knows."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
