"""The player's panels from noise to data as an MP4 or GIF that repeats."""

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from flowviz.figures import theme
from flowviz.progress import Progress
from flowviz.studies import Study
from flowviz.studies._flow import CompareConfig, CompareResult
from flowviz.studies._player import panel_of, scene_of
from flowviz.studies._raster import SIZES, Stage
from flowviz.studies.export import command_line

FORMATS = {"mp4": "video/mp4", "gif": "image/gif"}
"""Media types by suffix."""

GIF_COLOURS = 128
PALETTE_CELL = 8
"""Pillow takes any of the colours of a palette that differ by less from a pixel."""
GIF_RATE = 20
"""Frames per second at most: a GIF counts in hundredths, and browsers slow down shorter ones."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video of the player.

    Attributes:
        suffix: "mp4" or "gif".
        size: name in SIZES.
        seconds: from t = 0 to t = 1.
        rest: seconds at t = 1 before it repeats.
        rate: frames per second; of a GIF at most GIF_RATE.
        dark: whether the theme is dark.

    Raises:
        ValueError: a value is out of range.
    """

    suffix: str = "mp4"
    size: str = "720p"
    seconds: float = 5.0
    rest: float = 1.0
    rate: int = 24
    dark: bool = False

    def __post_init__(self) -> None:
        if self.suffix not in FORMATS:
            raise ValueError(f"A video must end in .{' or .'.join(FORMATS)}; got {self.suffix!r}.")
        if self.size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}; got {self.size!r}.")
        for name, low, high in (("seconds", 0.5, 60.0), ("rest", 0.0, 10.0), ("rate", 1, 60)):
            if not low <= getattr(self, name) <= high:
                got = getattr(self, name)
                raise ValueError(f"{name} must be in {low:g}..{high:g}; got {got:g}.")

    @property
    def frames_per_second(self) -> int:
        """The rate of the file."""
        return min(self.rate, GIF_RATE) if self.suffix == "gif" else self.rate

    def times(self) -> NDArray[np.float64]:
        """The time t of each frame; the last ones rest at t = 1."""
        moving = max(2, round(self.seconds * self.frames_per_second))
        resting = round(self.rest * self.frames_per_second)
        return np.concatenate([np.linspace(0, 1, moving), np.ones(resting)])


def can_encode(suffix: str) -> bool:
    """Whether this installation writes such files: MP4 needs the extra `video`."""
    return suffix == "gif" or importlib.util.find_spec("av") is not None


def check_encoder(suffix: str) -> None:
    """Raises ValueError if this installation cannot write such files."""
    if not can_encode(suffix):
        raise ValueError(
            "An MP4 needs PyAV; install it with pip install 'flowviz[video]', or write a .gif."
        )


def compare_video(
    study: Study, config: CompareConfig, result: CompareResult, video: Video, progress: Progress
) -> bytes:
    """The player of Compare with density, field and particles as the bytes of a file.

    Raises:
        ValueError: the extra `video` is not installed.
        Stopped: a stop was requested.
    """
    check_encoder(video.suffix)
    made_by = command_line(study, config, ("export", "--out", f"flow.{video.suffix}"), "compare")
    panels, scenes = [*map(panel_of, result.sides)], [*map(scene_of, result.sides)]
    steps = config.mode == "steps" or all(panel.jumps for panel in panels)
    caption = f"flowviz · {config.data} · seed {config.seed}"
    caption += " · particles at the last step" if steps else ""
    stage = Stage(panels, scenes, video.size, caption, steps=steps)
    write = _mp4 if video.suffix == "mp4" else _gif
    with theme.using(dark=video.dark):
        return write(_frames(stage, video, progress), stage, video, made_by)


def _frames(stage: Stage, video: Video, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    times = video.times()
    frame = None
    for k, t in enumerate(times):
        progress.report(k / len(times), f"frame {k + 1} of {len(times)}")
        if frame is None or t != times[k - 1]:
            frame = stage.frame(float(t))
        yield frame


def _mp4(frames: Iterator[NDArray], stage: Stage, video: Video, made_by: str) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        container.metadata["comment"] = made_by
        stream: Any = container.add_stream("libx264", rate=video.frames_per_second)
        stream.width, stream.height, stream.pix_fmt = stage.width, stage.height, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def _palette(stage: Stage) -> Image.Image:
    """The colours of a GIF: of its first, middle and last frame, and exactly those of the theme.

    Without the latter white is a light grey, and grey text is blue.
    """
    frames = np.concatenate([stage.frame(t) for t in (0.0, 0.5, 1.0)])
    exact = [theme.pick(part) for part in (theme.PAPER, theme.INK, theme.MUTED, theme.GRID)]
    colours = np.array([ImageColor.getrgb(each) for each in exact])
    quantized = Image.fromarray(frames).quantize(GIF_COLOURS - len(exact)).getpalette() or []
    candidates = np.reshape(quantized, (-1, 3))
    is_distinct = np.abs(candidates[:, None] - colours).max(2).min(1) >= PALETTE_CELL
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([colours, candidates[is_distinct]]).ravel().tolist())
    return palette


def _gif(frames: Iterator[NDArray], stage: Stage, video: Video, made_by: str) -> bytes:
    palette = _palette(stage)

    def pictures() -> Iterator[Image.Image]:
        for pixels in frames:
            yield Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)

    out, images = io.BytesIO(), pictures()
    first = next(images)
    first.save(
        out,
        "GIF",
        save_all=True,
        append_images=images,
        duration=round(100 / video.frames_per_second) * 10,
        loop=0,
        comment=made_by.encode(),
    )
    return out.getvalue()
