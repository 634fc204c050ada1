"""Limits of a server that its operator sets by environment variables; the README lists them."""

from dataclasses import dataclass

from flowviz.bounds import from_environment
from flowviz.device import processors


@dataclass(frozen=True)
class Limit:
    """A whole number in an environment variable.

    Attributes:
        variable: name of the environment variable.
        default: its value if it is not set.
        low: smallest valid number.
        high: largest valid number.
        meaning: what it limits, with its unit.
    """

    variable: str
    default: int
    low: int
    high: int
    meaning: str

    def __call__(self) -> int:
        """The limit.

        Raises:
            ValueError: the environment variable is no whole number in its range.
        """
        return from_environment(self.variable, self.default, self.low, self.high)


JOBS = Limit(
    "FLOWVIZ_JOBS", processors(), 1, 256, "Works of each lane of the queue that run at once."
)
THREADS = Limit(
    "FLOWVIZ_THREADS",
    1,
    1,
    1_024,
    "Threads of one PyTorch operation. Unset, a large solve takes as many as are fastest here.",
)
LONG_MINUTES = Limit(
    "FLOWVIZ_LONG_MINUTES", 60, 1, 100_000, "Minutes after which a training or long study stops."
)
CACHE_MB = Limit("FLOWVIZ_CACHE_MB", 400, 10, 1_000_000, "MB of stored results of all visitors.")
UPLOAD_MB = Limit("FLOWVIZ_UPLOAD_MB", 250, 1, 100_000, "MB of the uploaded files of a visitor.")
SAVED_MB = Limit(
    "FLOWVIZ_SAVED_MB",
    1_000,
    0,
    1_000_000,
    "MB of the checkpoints that visitors save on the server; 0 lets them only download.",
)

LIMITS = (JOBS, THREADS, LONG_MINUTES, CACHE_MB, UPLOAD_MB, SAVED_MB)


def refusal() -> str:
    """Why the environment variables are invalid, in a sentence; empty if they are valid."""
    for limit in LIMITS:
        try:
            limit()
        except ValueError as error:
            return str(error)
    return ""
