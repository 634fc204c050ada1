"""In exported figures no text is cut, and titles and legend entries do not overlap."""

from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from flowviz.studies import STUDIES, answers
from flowviz.studies.export import figure_bytes

pytestmark = pytest.mark.e2e

TEXTS = """() => {
  const page = document.querySelector("svg").getBoundingClientRect();
  const box = (node) => node.getBoundingClientRect();
  return [...document.querySelectorAll(
    ".legendtext, .gtitle, .annotation-text, .xtitle, .x2title, .ytitle, .y2title,"
    + ".ytick text, .cbfills"
  )].filter((node) => node.textContent.trim() || node.matches(".cbfills")).map((node) => {
    const { left, top, right, bottom } = box(node);
    return [node.textContent || "colour bar", left - page.left, top - page.top, right - page.left,
            bottom - page.top, page.width, page.height];
  });
}"""
TOUCH = 2.0
"""Pixels by which text boxes may overlap, since a box is higher than its letters."""

SMALL = {
    "flow": {"picture": "ways"},
    "schedules": {},
    "pairings": {},
    "losses": {"paths": ("ot", "vp")},
    "straightness": {},
    "nfe-quality": {},
}


SHIPPED = {"all-nfe": "all-data-sets", "log-density": "point", "pairs": "straightness"}
"""Figures from the shipped answers, with long titles of panels, a colour bar or long names."""


@cache
def figure(name):
    study = STUDIES[SHIPPED.get(name, name)]
    if name in SHIPPED:
        path = min(answers.FOLDER.glob(f"{study.name}-{'[0-9a-f]' * 16}.npz"))
        config = study.config.build(answers.read_request(path)[1])
        drawn = study.draw(config, answers.read(path))
        return next(each for each in drawn if each.name == name)
    config = study.config(**dict(study.smallest) | SMALL[name])
    return study.draw(config, study.result(config))[-1]


FIRST = ("schedules", 85)
SLOW = [(name, width) for name in SMALL for width in (85, 178) if (name, width) != FIRST]


@pytest.mark.parametrize(
    ("name", "width_mm"),
    [
        FIRST,
        *((name, 85) for name in SHIPPED),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW),
    ],
)
def test_no_text_is_cut_or_covered(chromium, tmp_path, name, width_mm):
    of = figure(name)
    svg = figure_bytes(
        of.figure, "svg", width_mm=width_mm, squares=of.squares, description="<a & b>"
    )
    file = Path(tmp_path, "figure.svg")
    file.write_bytes(svg)
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.goto(file.as_uri())
    texts = page.evaluate(TEXTS)
    page.close()
    assert len(texts) >= 2
    for text, left, top, right, bottom, width, height in texts:
        assert width == pytest.approx(width_mm * 96 / 25.4, abs=1)
        assert left >= -0.5 and top >= -0.5, f"{text!r} is cut"
        assert right <= width + 0.5 and bottom <= height + 0.5, f"{text!r} is cut"
    for (a, *box), (b, *other) in combinations(texts, 2):
        apart = (
            box[2] <= other[0] + TOUCH
            or other[2] <= box[0] + TOUCH
            or box[3] <= other[1] + TOUCH
            or other[3] <= box[1] + TOUCH
        )
        assert apart, f"{a!r} and {b!r} overlap"
