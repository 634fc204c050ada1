"""The error of this package."""

from flowviz.bounds import shortened


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, read or written: one short sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))
