"""Draws the pictures of the home page from computed results: `python .github/presets.py`.

The pictures are transparent, in colours that are visible on the light and on the dark page.
"""

import io
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flowviz.checkpoints.images import load_images  # noqa: E402
from flowviz.draws import noise  # noqa: E402
from flowviz.experiments.evolution import (  # noqa: E402
    FlowConfig,
    FlowResult,
    SceneConfig,
    compute_flow,
    compute_scene,
)
from flowviz.experiments.images import (  # noqa: E402
    ImageConfig,
    sample_all,
    to_pixels,
)
from flowviz.experiments.pairings import pair_samples  # noqa: E402
from flowviz.experiments.particles import FLOW, ParticlesConfig, compute_particles  # noqa: E402
from flowviz.figures.theme import FRAME  # noqa: E402

SIZE = (400, 200)
SCALE = 3
"""Pixels are drawn this much larger and then averaged."""
OT, VP, DATA, NOISE, ERROR = "#2A8FD0", "#E07A10", "#17A97F", "#868D97", "#C45C9A"
MAX_BYTES = 20_000


class Plane:
    """A square of a picture over [-reach, reach]^2, with its left edge at x pixels."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, x: float, side: float, reach: float = FRAME
    ) -> None:
        self.draw, self.x, self.side, self.reach = draw, x, side, reach

    def pixels(self, points: NDArray) -> NDArray:
        """Pixels (n, 2) of points (n, 2)."""
        u = (np.asarray(points) / self.reach + 1) / 2 * self.side
        return SCALE * np.stack([self.x + u[:, 0], SIZE[1] / 2 + self.side / 2 - u[:, 1]], axis=1)

    def dots(self, points: NDArray, colour: str, radius: float = 1.1) -> None:
        """Draws points (n, 2) with a radius in pixels."""
        r = SCALE * radius
        for x, y in self.pixels(points):
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def line(self, points: NDArray, colour: str, width: float = 1.2) -> None:
        """Draws the polygon through points (n, 2)."""
        self.draw.line(
            [tuple(p) for p in self.pixels(points)], fill=colour, width=round(SCALE * width)
        )


def flow(data: str, path: str, name: str, **more: object) -> FlowResult:
    """The flow with the field of this name."""
    return compute_flow(FlowConfig(data=data, path=path, field=name, **more))


def pair(draw: ImageDraw.ImageDraw, reach: float = FRAME) -> tuple[Plane, Plane]:
    """Two planes, side by side."""
    return Plane(draw, 4, 192, reach), Plane(draw, 204, 192, reach)


def steps(draw: ImageDraw.ImageDraw) -> None:
    """Four Euler steps of some particles on both paths, and the end points of all particles."""
    for plane, path, colour in zip(pair(draw, 4.6), ("ot", "vp"), (OT, VP), strict=True):
        found = flow("checkerboard", path, f"checkerboard-{path}", method="euler", nfe=4)
        plane.dots(found.step_states[-1][:1200], f"{colour}70", 0.9)
        for k in range(12):
            plane.line(found.step_states[:, k], colour)
            plane.dots(found.step_states[:, k], colour, 2)


def word(draw: ImageDraw.ImageDraw) -> None:
    """The trajectories of particles from noise to a word."""
    found = flow("word:FLOW", "ot", "exact", nfe=40)
    plane = Plane(draw, 0, 400, 4.2)
    plane.dots(found.states[0][::3], f"{NOISE}60", 1.2)
    plane.dots(found.states[-1], OT, 1.3)


def difference(draw: ImageDraw.ImageDraw) -> None:
    """The error of a network at t = 0.8 and, above it, the particles."""
    for plane, path, colour in zip(pair(draw), ("ot", "vp"), (OT, VP), strict=True):
        name = f"checkerboard-{path}"
        scene = compute_scene(SceneConfig(data="checkerboard", path=path, field=name))
        found = flow("checkerboard", path, name)
        k = int(np.searchsorted(scene.times, 0.8))
        error = np.where(scene.reached[k], scene.difference[k], 0)
        cell = 2 * FRAME / len(error)
        for (i, j), share in np.ndenumerate(np.clip(error / np.quantile(error, 0.99), 0, 1)):
            if share > 0.08:
                centre = np.array([[-FRAME + (j + 0.5) * cell, -FRAME + (i + 0.5) * cell]])
                (x, y), r = plane.pixels(centre)[0], SCALE * plane.side / len(error) / 2
                draw.rectangle((x - r, y - r, x + r, y + r), f"{ERROR}{round(230 * share):02x}")
        at = int(np.searchsorted(found.times, 0.8))
        plane.dots(found.states[at][:500], f"{colour}d0", 0.9)


def images(picture: Image.Image) -> None:
    """Six images of the same noise: the noise, one Euler step, and one jump of the flow map."""
    config = ImageConfig(n=12, nfe=1, seed=0, guidance=1.0, classes=tuple(range(10)))
    rows = [
        to_pixels(noise(config.n, config.seed, (3, 32, 32))),
        sample_all(load_images("cifar10-ot"), replace(config, solver="euler")).images,
        sample_all(load_images("cifar10-ot-distillation"), replace(config, solver="jumps")).images,
    ]
    side = SCALE * SIZE[1] // len(rows)
    for row, found in enumerate(rows):
        for column, k in enumerate((1, 2, 4, 7, 8, 11)):
            pixels = found[k].transpose(1, 2, 0)
            tile = Image.fromarray(pixels).resize((side - 6, side - 6), Image.Resampling.NEAREST)
            picture.paste(tile, (column * side + 3, row * side + 3))


def samplers(draw: ImageDraw.ImageDraw) -> None:
    """The same starts, moved by the ODE on the left and by the SDE on the right."""
    for plane, sampler, colour in zip(
        pair(draw, 5.5), (FLOW, "euler-maruyama"), (OT, VP), strict=True
    ):
        more = {} if sampler == FLOW else {"noise": 1.0}
        found = compute_particles(ParticlesConfig(sampler=sampler, nfe=100, **more))
        plane.dots(found.states[-1], f"{NOISE}90", 1)
        for k in range(9):
            plane.line(found.states[:, k], colour, 1)
            plane.dots(found.states[-1:, k], colour, 2.2)


def pairings(draw: ImageDraw.ImageDraw) -> None:
    """Pairs of noise and data: independent, and matched by optimal transport."""
    found = pair_samples("8gaussians", 48, 8, 0)
    independent, _, optimal, _ = found.pairings
    for plane, each, colour in zip(pair(draw, 5.2), (independent, optimal), (VP, OT), strict=True):
        for a, b in zip(found.noise, each.ends, strict=True):
            plane.line(np.stack([a, b]), f"{colour}c0", 0.9)
        plane.dots(found.noise, NOISE, 2)
        plane.dots(each.ends, DATA, 2)


def claims(draw: ImageDraw.ImageDraw) -> None:
    """Distance to the data against NFE on both paths, on logarithmic axes."""
    nfes = (4, 6, 8, 10, 14, 20, 30)
    for path, colour in (("ot", OT), ("vp", VP)):
        name = f"checkerboard-{path}"
        ends = [flow("checkerboard", path, name, nfe=n).end_quality for n in nfes]
        x = 60 + 290 * np.log(np.array(nfes) / nfes[0]) / math.log(nfes[-1] / nfes[0])
        y = 165 - 140 * np.log(np.array(ends) / 0.12) / math.log(6)
        points = [(SCALE * a, SCALE * b) for a, b in zip(x, y, strict=True)]
        draw.line(points, colour, 3 * SCALE)
        for a, b in points:
            draw.ellipse((a - 12, b - 12, a + 12, b + 12), colour)
    draw.line([(SCALE * 40, SCALE * 15), (SCALE * 40, SCALE * 180), (SCALE * 370, SCALE * 180)],
              NOISE, 2 * SCALE)  # fmt: skip


def densities(draw: ImageDraw.ImageDraw) -> None:
    """Densities of both paths at four times, as in Figure 4 of Lipman et al. 2022."""
    for row, (path, colour) in enumerate((("ot", OT), ("vp", VP))):
        scene = compute_scene(SceneConfig(data="checkerboard", path=path))
        for column, t in enumerate((0.2, 0.5, 0.8, 1.0)):
            density = scene.density[min(np.searchsorted(scene.times, t), len(scene.times) - 1)]
            share = np.clip(density / np.quantile(density, 0.98), 0, 1)[::-1]
            alpha = Image.fromarray(np.uint8(255 * share)).resize((SCALE * 94,) * 2)
            box = (SCALE * (column * 100 + 3), SCALE * (row * 100 + 3))
            draw.bitmap(box, alpha, fill=colour)


PICTURES = {
    "steps": steps,
    "word": word,
    "difference": difference,
    "images": images,
    "samplers": samplers,
    "pairings": pairings,
    "claims": claims,
    "densities": densities,
}


def made(names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The WebP files of the pictures with these names."""
    for name in names:
        picture = Image.new("RGBA", (SCALE * SIZE[0], SCALE * SIZE[1]), (0, 0, 0, 0))
        if name == "images":
            images(picture)
        else:
            PICTURES[name](ImageDraw.Draw(picture))
        small = picture.resize(SIZE, Image.Resampling.BOX)
        for quality in (88, 75, 60, 40, 25):
            out = io.BytesIO()
            small.save(out, "WEBP", quality=quality, alpha_quality=quality, method=6)
            if out.tell() <= MAX_BYTES:
                break
        yield name, out.getvalue()


def main() -> None:
    """Writes the pictures that the command line names, or all."""
    folder = ROOT / "flowviz" / "presets"
    for name, content in made(sys.argv[1:] or list(PICTURES)):
        (folder / f"{name}.webp").write_bytes(content)
        print(f"{name}.webp: {len(content):,} bytes")


if __name__ == "__main__":
    main()
