"""The plot of a schedule in Chromium without Streamlit: Python's curves, and points that move."""

import pytest
import torch
from mounting import component, frame

from flowviz.schedulers import Shaped

SHAPES = [Shaped(), Shaped(a1=0.02, a2=0.9, a3=0.92, a4=0.97, s1=0.99, s2=0.98, s3=0.3, s4=0.29)]


@pytest.fixture
def opened(tab):
    alpha, sigma = Shaped().values
    colours = dict.fromkeys(("own", "noise", "ink", "muted", "grid"), "#5D6470")
    data = {
        "alpha": alpha,
        "sigma": sigma,
        "least": Shaped.MIN_STEP,
        "presets": [{"label": "OT", "alpha": [0.2, 0.4, 0.6, 0.8], "sigma": [0.8, 0.6, 0.4, 0.2]}],
        "theme": {"light": colours, "dark": colours},
    }
    with component(tab, "shaper", "shaper.js", width=400, height=600) as page:
        page.evaluate("mount", data)
        frame(page)
        yield page


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curves_are_those_that_python_computes(opened, shape: Shaped) -> None:
    t = torch.linspace(0, shape.t_max, 97, dtype=torch.float64)
    expected = shape(t)
    for values, ends, curve in zip(
        shape.values, ((0, 1), (1, 0)), (expected.alpha, expected.sigma), strict=True
    ):
        drawn = opened.evaluate(
            "([v, t]) => t.map((s) => shaper.valueAt(shaper.pieces(v), s))",
            [[ends[0], *values, ends[1]], t.tolist()],
        )
        assert drawn == pytest.approx(curve.tolist(), abs=1e-12)


def place(page, t: float, value: float) -> tuple[float, float]:
    box = page.locator("canvas").bounding_box()
    width, height = box["width"] - 46, box["height"] - 52
    return box["x"] + 34 + t * width, box["y"] + 12 + (1 - value) * height


def test_a_dragged_point_stays_between_its_neighbours_and_is_reported_once(opened) -> None:
    opened.mouse.move(*place(opened, 0.4, 0.35))
    opened.mouse.down()
    opened.mouse.move(*place(opened, 0.4, 0.99), steps=6)
    assert opened.evaluate("sent.length") == 0
    opened.mouse.up()
    assert opened.evaluate("sent") == [
        ["shape", {"alpha": [0.1, 0.64, 0.65, 0.9], "sigma": [0.95, 0.8, 0.5, 0.2]}]
    ]


def test_keys_move_points_and_a_button_brings_a_known_path(opened) -> None:
    canvas = opened.locator("canvas")
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "Space", "ArrowUp", "Shift+ArrowDown"):
        opened.keyboard.press(key)
    assert opened.evaluate("sent.at(-1)[1].sigma") == [0.95, 0.84, 0.5, 0.2]
    frame(opened)
    assert "σ at t = 0.4: 0.84" in opened.locator(".fh-read").inner_text()
    opened.get_by_role("button", name="OT").click()
    assert opened.evaluate("sent.at(-1)[1].alpha") == [0.2, 0.4, 0.6, 0.8]
