"""Frames of a video equal the pictures that the player's scripts draw in Node."""

import base64
import itertools
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from mounting import JS

from flowviz.canvases.player import Panel, Readout, Scene, colours, pack, pack_scene
from flowviz.studies import _raster as raster
from flowviz.studies._raster import Stage
from flowviz.studies.video import Video

SCRIPT = """
import { readFileSync } from "node:fs";
import { paint } from "./player/layers.js";
import { surface } from "./player/pixels.js";
import { decode } from "./base/wire.js";
import { pixel, ramp, rgb } from "./base/colour.js";
globalThis.ImageData = class {
  constructor(w, h) { this.data = new Uint8ClampedArray(4 * w * h); }
};
const { side, dot, theme, panels, scenes, speed, roots, t } = JSON.parse(readFileSync(0));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const body = decode(bytes(panels)), layers = ["particles", "density", "field"];
const pictures = body.panels.map((panel, i) => {
  Object.assign(panel, { frames: panel.times, steps: panel.step_times });
  const look = {
    role: pixel(rgb(theme.roles[panel.role])), halo: pixel(rgb(theme.density[0])),
    arrow: pixel(rgb(theme.ink)), arrowOpacity: 138,
    density: ramp(theme.density), speed, radius: 1.75, opacity: 220,
  };
  const window = { x: 0, y: 0, r: body.frame }, s = surface(side);
  paint(s, panel, decode(bytes(scenes[i])), {
    t, mode: "smooth", layers, window, frame: body.frame, dot, look, densityRoot: roots[i],
  });
  return Buffer.from(s.image.data.buffer).toString("base64");
});
console.log(JSON.stringify(pictures));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.parametrize("n", [300, 900])
def test_a_frame_has_the_pixels_of_the_player(tmp_path, n):
    rng = np.random.default_rng(0)
    times = np.linspace(0, 1, 3)
    x, y = np.meshgrid(np.linspace(-4, 4, 24), np.linspace(-4, 4, 24))
    panels, scenes = [], []
    for width, role in ((1.0, "ot"), (0.4, "vp")):
        states = rng.normal(0, 1.5, (3, n, 2))
        panels.append(Panel(role, role, times, states, times, states, jumps=role == "vp"))
        density = np.stack([np.exp(-(x**2 + (y - t) ** 2) / (2 * width)) / width for t in times])
        nodes = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)), -1)
        velocity = np.stack([nodes * (1 + t) for t in times])
        scenes.append(Scene(times=times, density=density, velocity=velocity))
    stage, t = Stage(panels, scenes), 0.3
    peaks = stage._peaks_at(t)
    given = {
        "side": stage.side,
        "dot": stage.dot,
        "theme": colours()["light"],
        "panels": base64.b64encode(pack(panels)).decode(),
        "scenes": [base64.b64encode(pack_scene(each)).decode() for each in scenes],
        "speed": stage.speed,
        "roots": [float(np.sqrt(peak / max(peaks))) for peak in peaks],
        "t": t,
    }
    shutil.copytree(JS, tmp_path / "js")
    (tmp_path / "js" / "package.json").write_text('{"type": "module"}')
    (tmp_path / "js" / "frame.js").write_text(SCRIPT)
    done = subprocess.run(
        ["node", tmp_path / "js" / "frame.js"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr[-2000:]
    for k, text in enumerate(json.loads(done.stdout)):
        js = np.frombuffer(base64.b64decode(text), np.uint8).reshape(stage.side, stage.side, 4)
        drawn = stage._plane(k, t, max(peaks)).astype(float)
        apart = np.abs(drawn - js[..., :3]).max(axis=-1)
        # Edges of arrows are smoothed differently; other pixels differ by rounding.
        assert apart.mean() < 1.5, apart.mean()
        assert np.mean(apart > 12) < 0.02, np.mean(apart > 12)
        blank = Stage(panels, [replace(each, velocity=None) for each in scenes])
        assert np.abs(blank._plane(k, t, max(peaks)) - drawn).max() > 30  # arrows are drawn


def test_the_text_of_a_film_can_be_read_on_a_wall_and_fits_its_panels():
    times, states = np.array([0.0, 1.0]), np.zeros((2, 3, 2))
    numbers = {"Sliced W₂ to data": 0.994, "Off the data at the end": 0.52}
    texts = tuple(Readout(*each, decimals=3, unit="%") for each in numbers.items())
    for count, size in itertools.product((2, 3, 4), raster.SIZES):
        panel = Panel("VP diffusion", "vp", times, states, times, states, readouts=texts)
        stage = Stage([panel] * count, [None] * count, size)
        assert stage.words.size >= 15
        for row in raster._rows(panel, 1.0, 1 + stage.wide):
            assert stage.words.getlength(row) <= stage.side


def test_the_sizes_and_an_unknown_one():
    for size, (width, height) in raster.SIZES.items():
        times, states = np.array([0.0, 1.0]), np.zeros((2, 3, 2))
        panel = Panel("OT", "ot", times, states, times, states)
        assert Stage([panel, panel], [None, None], size).frame(0.5).shape == (
            height,
            width,
            3,
        )
    with pytest.raises(ValueError, match="size must be one of 720p, 1080p, square; got '4k'"):
        Video(size="4k")
