"""The panels of the player as pictures without a browser, for videos, in the theme of `using`.

The arithmetic is that of `canvases/js/player/layers.js`, with the same ramps and roles: the
square root of the density by a ramp, arrows of the field, discs of particles. Text is in the font
of ReportLab.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import reportlab
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from flowviz.canvases.player import DENSITY_STOPS, Panel, Scene, peaks_of
from flowviz.experiments.evolution import at_time, last_step
from flowviz.figures import theme
from flowviz.figures.theme import FRAME

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "square": (1080, 1080)}
"""Width and height in pixels by name."""

RADIUS, OPACITY = 1.75, 220 / 256
"""Of a particle: in units of `Stage.dot`, and as a share."""
DEPTHS = ((0.84, 0.62, 0.0), (1.0, 0.84, 50 / 256), (1.14, 1.0, 90 / 256))
"""Of particles from back to front: factor of the radius, opacity of the disc and of the rim."""
ALONE = ((1.0, 1.0, 90 / 256),)
"""As DEPTHS, for fewer than CROWD particles."""
CROWD = 400
RIM = 0.7
"""Width of the rim of a particle in units of `Stage.dot`."""
ARROW_OPACITY = (138 / 256, 150 / 256)
"""Of an arrow, light and dark."""
FAINTEST, FAINT = 0.35, 0.1
"""An arrow's share of opacity where the root of the density is 0, and the root of full opacity."""
SMOOTH = 3
"""Arrows are drawn this many times larger and reduced, which smooths their edges."""
SHADES = 1024
"""Colours of a ramp."""
TITLE, WORDS, CAPTION = 20, 16.5, 14
"""Heights of text at most, in units of `Stage.unit`: a film is also shown on a wall."""
SUBPIXELS = 4
"""A disc is placed to a fraction of a pixel."""


class _Density(NamedTuple):
    """The density of a scene.

    Attributes:
        times: (K,).
        peaks: (K,), the densities at the end of the ramp.
        roots: (K, h, h), the square roots of the shares of these peaks, in [0, 1].
    """

    times: ArrayLike
    peaks: NDArray
    roots: NDArray[np.float32]


class Stage:
    """Panels side by side, or in two rows, to be drawn at any time.

    Args:
        panels: with the particles.
        scenes: the plane behind each panel, or None.
        size: name in SIZES.
        caption: one line at the bottom.
        steps: whether only the states of the solver's steps are drawn.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        scenes: Sequence[Scene | None],
        size: str = "720p",
        caption: str = "",
        *,
        steps: bool = False,
    ) -> None:
        self.panels, self.scenes, self.caption, self.steps = panels, scenes, caption, steps
        self.width, self.height = SIZES[size]
        self.unit = min(self.width / 1000, self.height / 720)  # pixels of a unit of text
        count = len(panels)
        # Four panels are two rows where that makes them larger.
        self.side, self.columns = max(
            (self._panel_side(n), n) for n in {count, math.ceil(count / 2)}
        )
        self.gap = (self.width - self.columns * self.side) // (self.columns + 1)
        self.pitch = self.head + self.side + self.foot
        rows = math.ceil(count / self.columns)
        self.top = self.head + (self.height - self.last - rows * self.pitch) // 2
        self.dot = self.side / 450  # a panel of the page has about 450 pixels
        velocities = [each.velocity for each in scenes if each and each.velocity is not None]
        self.speed = float(np.mean([_median_speed(u) for u in velocities])) if velocities else 1.0
        self.densities = [None if each is None else _density(each) for each in scenes]
        self.wide = count < 3  # narrow panels: the title has a line of its own, the time is below
        rows_of_all = [row for panel in panels for row in _rows(panel, 1.0, 1 + self.wide)]
        longest = max(rows_of_all, key=len, default="")
        self.words = _fitting(longest, WORDS * self.unit, self.side, bold=False)

    @property
    def head(self) -> int:
        """Height of the titles above a panel."""
        return round((64 if len(self.panels) < 3 else 56) * self.unit)

    @property
    def foot(self) -> int:
        """Height of the read-outs below a panel."""
        return round((70 if len(self.panels) < 3 else 104) * self.unit)

    @property
    def last(self) -> int:
        """Height of the caption at the bottom."""
        return round(26 * self.unit)

    def _panel_side(self, columns: int) -> int:
        """The side of panels in this number of columns."""
        rows = math.ceil(len(self.panels) / columns)
        width = (self.width - round(40 * self.unit) * (columns + 1)) // columns
        return min(width, (self.height - self.last) // rows - self.head - self.foot)

    def frame(self, t: float) -> NDArray[np.uint8]:
        """The picture at time t in [0, 1], (height, width, 3)."""
        ink, muted, paper, grid = map(
            theme.pick, (theme.INK, theme.MUTED, theme.PAPER, theme.GRID)
        )
        canvas = Image.new("RGB", (self.width, self.height), paper)
        draw, unit = ImageDraw.Draw(canvas), self.unit
        time, clock = f"t = {t:.2f}", _font(TITLE * unit, bold=True)
        scale = max((peak for peak in self._peaks_at(t) if peak), default=0.0)
        for k, panel in enumerate(self.panels):
            row, column = divmod(k, self.columns)
            left, top = self.gap + column * (self.side + self.gap), self.top + row * self.pitch
            canvas.paste(Image.fromarray(self._plane(k, t, scale)), (left, top))
            border = [left - 1, top - 1, left + self.side, top + self.side]
            draw.rectangle(border, outline=grid)
            line, colour = top - round(14 * unit), theme.path_colour(panel.role)
            note, room = _plain(panel.note), self.side
            if self.wide:
                room -= self.words.getlength(note) + clock.getlength(time) + 24 * unit
            title = _fitting(panel.title, TITLE * unit, room)
            note_x = left + title.getlength(panel.title) + 12 * unit
            if self.wide:
                draw.text((left, line), panel.title, colour, title, "ls")
                draw.text((note_x, line), note, muted, self.words, "ls")
                draw.text((left + self.side, line), time, ink, clock, "rs")
            else:
                draw.text((left, line - round(15 * unit)), panel.title, colour, title, "ls")
                draw.text((left, line + round(6 * unit)), note, muted, self.words, "ls")
            low = top + self.side + round(24 * unit)
            rows = _rows(panel, self._state(panel, t)[0], 1 + self.wide)
            for k, text in enumerate(rows):
                draw.text((left, low + round(22 * k * unit)), text, ink, self.words, "ls")
        edge = (self.gap, self.height - round(10 * unit))
        draw.text(edge, _plain(self.caption), muted, _font(CAPTION * unit), "ls")
        if not self.wide:
            draw.text((self.width - self.gap, edge[1]), time, ink, clock, "rs")
        return np.asarray(canvas)

    def _state(self, panel: Panel, t: float) -> tuple[float, NDArray]:
        """The particles that are drawn at time t, and the time to which they belong."""
        if not (self.steps or panel.jumps):
            return t, at_time(panel.times, panel.states, t)
        times = np.asarray(panel.step_times)
        k = last_step(times, t)
        return float(times[k]), np.asarray(panel.step_states)[k]

    def _peaks_at(self, t: float) -> list[float]:
        return [0.0 if p is None else float(at_time(p.times, p.peaks, t)) for p in self.densities]

    def _plane(self, k: int, t: float, scale: float) -> NDArray[np.uint8]:
        """The square of panel k at time t, (side, side, 3)."""
        panel, scene = self.panels[k], self.scenes[k]
        density = self.densities[k]
        ramp = theme.pick(theme.DENSITY_RAMP)[:DENSITY_STOPS]
        root = None if density is None else at_time(density.times, density.roots, t)
        pixels = np.empty((self.side, self.side, 3), np.float32)
        pixels[:] = _rgb(ramp[0])
        if root is not None:
            shared = math.sqrt(self._peaks_at(t)[k] / scale) if scale else 1.0
            pixels = _painted(root * shared, self.side, ramp)
        if scene is not None and scene.velocity is not None:
            velocity = at_time(scene.times, scene.velocity, t)
            mask = _arrows(velocity, root, self.side, self.dot, self.speed)
            _blend(pixels, mask * theme.pick(ARROW_OPACITY), theme.pick(theme.INK))
        points = self._state(panel, t)[1]
        _draw_particles(pixels, points, self.dot, theme.path_colour(panel.role), ramp[0])
        return np.rint(pixels).astype(np.uint8)


def _density(scene: Scene) -> _Density | None:
    if scene.density is None:
        return None
    scene_peaks = scene.density_peaks
    peaks = peaks_of(scene.density) if scene_peaks is None else np.asarray(scene_peaks)
    divisors = np.where(peaks > 0, peaks, 1)[:, None, None]
    roots = np.sqrt(np.clip(scene.density / divisors, 0, 1)).astype(np.float32)
    return _Density(scene.times, peaks, roots)


def _median_speed(velocity: ArrayLike) -> float:
    return float(np.median(np.linalg.norm(velocity, axis=-1))) or 1.0


def _rows(panel: Panel, t: float, per_line: int) -> list[str]:
    """The read-outs at time t, `per_line` in a line."""
    texts = []
    for readout in panel.readouts:
        values = np.asarray(readout.values, np.float64)
        value = float(at_time(panel.times, values, t) if values.ndim else values)
        number = f"{value:.{readout.decimals}f}" if math.isfinite(value) else "–"
        texts.append(f"{_plain(readout.label)}: {number}{readout.unit and ' ' + readout.unit}")
    return ["    ".join(texts[k : k + per_line]) for k in range(0, len(texts), per_line)]


def _plain(text: str) -> str:
    """A text without the signs that the font lacks."""
    return text.replace("₂", "2").replace("ₜ", "_t")


def _painted(root: NDArray, side: int, ramp: Sequence[str]) -> NDArray[np.float32]:
    """A grid (h, h) of roots in [0, 1], row 0 lowest, as (side, side, 3)."""
    h = len(root)
    grid = Image.fromarray(root[::-1].astype(np.float32))
    nodes = (0.5, 0.5, h - 0.5, h - 0.5)
    values = np.asarray(grid.resize((side, side), Image.Resampling.BILINEAR, box=nodes))
    return _shades(tuple(ramp))[(np.clip(values, 0, 1) * (SHADES - 1)).astype(np.int32)]


@cache
def _shades(ramp: tuple[str, ...]) -> NDArray[np.float32]:
    """A ramp as SHADES colours, (SHADES, 3)."""
    share, stops = np.linspace(0, 1, SHADES), np.linspace(0, 1, len(ramp))
    channels = np.array([_rgb(each) for each in ramp]).T
    shades = np.stack([np.interp(share, stops, channel) for channel in channels], axis=-1)
    return np.rint(shades).astype(np.float32)


def _arrows(
    velocity: NDArray, root: NDArray | None, side: int, dot: float, speed: float
) -> NDArray[np.float32]:
    """Coverage of the arrows of velocities (G, G, 2), faint where nearly no data pass."""
    g = len(velocity)
    image = Image.new("L", (side * SMOOTH, side * SMOOTH))
    draw, dot = ImageDraw.Draw(image), dot * SMOOTH
    cell = min(side * SMOOTH / (g - 1), 44 * dot)
    x, y = np.meshgrid(np.linspace(0, side * SMOOTH, g), np.linspace(side * SMOOTH, 0, g))
    norms = np.linalg.norm(velocity, axis=-1)
    lengths = 0.95 * cell * norms / (norms + speed)
    # Pixels count downwards.
    direction = velocity / np.where(norms > 0, norms, 1)[..., None] * (1, -1)
    middle, half = np.stack([x, y], -1), direction * lengths[..., None] / 2
    head = np.minimum(0.55 * lengths, 4.6 * dot)[..., None]
    tip, tail = middle + half, middle - half
    neck = tip - direction * head
    wing = np.stack([-direction[..., 1], direction[..., 0]], -1) * head * 0.42
    shades = _faintness(root, g).ravel().tolist()
    arrows = np.concatenate([tail, neck, tip, neck + wing, neck - wing], -1).reshape(-1, 10)
    width, r = max(1, round(1.15 * dot)), 0.7 * dot
    for arrow, length, shade in zip(arrows.tolist(), lengths.ravel(), shades, strict=True):
        if length < dot:
            centre_x, centre_y = (arrow[0] + arrow[4]) / 2, (arrow[1] + arrow[5]) / 2
            draw.ellipse([centre_x - r, centre_y - r, centre_x + r, centre_y + r], fill=shade)
            continue
        draw.line(arrow[:4], fill=shade, width=width)
        draw.polygon(arrow[4:], fill=shade)
    return np.asarray(image.reduce(SMOOTH), np.float32) / np.float32(255)


def _faintness(root: NDArray | None, g: int) -> NDArray[np.int_]:
    """The opacity (g, g) of arrows in 0..255 by the root of the density at their nodes."""
    if root is None:
        return np.full((g, g), 255)
    node = np.floor(np.arange(g) * (len(root) - 1) / (g - 1) + 0.5).astype(int)
    visibility = np.minimum(1, root[np.ix_(node, node)] / FAINT)
    return np.rint(255 * (FAINTEST + (1 - FAINTEST) * visibility)).astype(int)


@cache
def _disc(radius: float) -> NDArray[np.float64]:
    """Coverage of a disc at SUBPIXELS² offsets within a pixel, (SUBPIXELS², size, size)."""
    size = 2 * math.ceil(radius) + 2
    fine = (np.arange(size * 8) + 0.5) / 8
    masks = []
    for s in range(SUBPIXELS**2):
        cx, cy = (size / 2 - 0.5 + (q + 0.5) / SUBPIXELS for q in (s % SUBPIXELS, s // SUBPIXELS))
        inside = np.hypot(fine[None] - cx, fine[:, None] - cy) < radius
        masks.append(inside.reshape(size, 8, size, 8).mean(axis=(1, 3)))
    return np.stack(masks)


def _draw_particles(
    pixels: NDArray[np.float32], points: NDArray, dot: float, colour: str, ground: str
) -> None:
    """Draws discs with rims in the colour of the ground at points (n, 2), one over the other."""
    side, depths = len(pixels), DEPTHS if len(points) >= CROWD else ALONE
    pad = len(_disc(round(2 * RADIUS * dot, 3))[0])
    canvas = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)))
    positions = np.stack([points[:, 0] + FRAME, FRAME - points[:, 1]], 1) * side / (2 * FRAME)
    for depth, (factor, share, rim) in enumerate(depths):
        centres, radius = positions[depth :: len(depths)], factor * RADIUS * dot
        centres = centres[((centres > -pad / 2) & (centres < side + pad / 2)).all(axis=1)] + pad
        layers = [_stamps(centres, radius, OPACITY * share, colour)]
        if rim:
            layers.insert(0, _stamps(centres, radius + RIM * dot, OPACITY * rim, ground))
        for stamps in zip(*layers, strict=True):
            for y, x, mask, paint in stamps:
                block = canvas[y : y + len(mask), x : x + len(mask)]
                block += mask * (paint - block)
    pixels[:] = canvas[pad:-pad, pad:-pad]


def _stamps(
    centres: NDArray, radius: float, opacity: float, colour: str
) -> Iterator[tuple[int, int, NDArray[np.float32], NDArray[np.float32]]]:
    """For each disc, its centre in pixels (n, 2): row, column, opacities (s, s, 1), colour."""
    masks = (opacity * _disc(round(radius, 3)))[..., None].astype(np.float32)
    corner = centres + 0.5 - masks.shape[1] / 2
    pixel = np.floor(corner).astype(int)
    subpixel = ((corner - pixel) * SUBPIXELS).astype(int)
    paint = np.array(_rgb(colour), np.float32)
    for (x, y), (u, v) in zip(pixel.tolist(), subpixel.tolist(), strict=True):
        yield y, x, masks[v * SUBPIXELS + u], paint


def _blend(pixels: NDArray, opacity: NDArray, colour: str) -> None:
    """Draws a colour #rrggbb over pixels (H, W, 3) with an opacity (H, W)."""
    flat, shares = pixels.reshape(-1, 3), opacity.ravel()
    covered = np.flatnonzero(shares > 0.5 / 255)
    old = flat[covered]
    flat[covered] = old + shares[covered, None] * (np.array(_rgb(colour), np.float32) - old)


def _rgb(colour: str) -> tuple[int, int, int]:
    """The channels of #rrggbb."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@cache
def _font(size: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font that is installed with ReportLab, at a size in pixels."""
    name = "VeraBd.ttf" if bold else "Vera.ttf"
    return ImageFont.truetype(Path(reportlab.__file__).parent / "fonts" / name, round(size))


def _fitting(text: str, size: float, width: float, *, bold: bool = True) -> ImageFont.FreeTypeFont:
    """The font of the largest size up to `size` in which a text is not wider than `width`."""
    text_width = max(1.0, _font(size, bold=bold).getlength(text))
    return _font(math.floor(min(size, size * width / text_width)), bold=bold)
