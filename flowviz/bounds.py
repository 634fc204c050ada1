"""The bounds of a config's numbers: one sentence for whatever lies beyond them."""

__all__ = ["FRAME", "MAX_SAMPLES", "MAX_SEED", "check_bounds", "is_whole", "shortened"]

MAX_MESSAGE = 300
"""Characters of an error message, which may quote names from a file or an argument."""

MAX_SEED = 2**31 - 1
"""The largest seed: the same for every command, page and file."""

MAX_SAMPLES = 10_000_000
"""The largest number of samples of one command."""

FRAME = 5.0
"""Figures show the plane over [-FRAME, FRAME]^2, for every data set."""


def check_bounds(config: object, **bounds: tuple[float, float]) -> None:
    """Refuses a config with a number beyond its bounds, given as name=(least, most).

    Raises:
        ValueError: it names the entry, its bounds (least..most of whole numbers) and its value.
    """
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if not least <= value <= most:
            whole = isinstance(least, int) and isinstance(most, int)
            span = f"{least}..{most}" if whole else f"[{least:g}, {most:g}]"
            raise ValueError(f"{name} must be in {span}; got {value}.")


def is_whole(value: object, least: int = 0, most: int = 2**53) -> bool:
    """Whether a value from anywhere, a file say, is a whole number in least..most."""
    return type(value) is int and least <= value <= most


def shortened(message: str) -> str:
    """The message on one line of at most MAX_MESSAGE characters, cut at its end if longer."""
    text = " ".join(message.split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 2].rstrip(" .") + "…."
