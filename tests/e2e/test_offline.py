"""Single-file pages open from a file: URL and send no request to a host."""

from contextlib import contextmanager

import pytest

from flowviz.cli import main
from flowviz.studies import STUDIES
from flowviz.studies.page import figures_page

pytestmark = pytest.mark.e2e
TINY = ["--left", "tiny-ot", "--right", "tiny-vp"]
MAX_BYTES = 3 * 2**20
"""Maximum size of Compare with its default settings."""


@contextmanager
def opened(chromium, file, **options):
    """Opens a file as a page, which must not log errors or request another resource."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, offline=True, **options
    )
    page, noise, requests = context.new_page(), [], []
    page.on("console", lambda m: m.type == "error" and noise.append(m.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not noise, noise
    assert not [each for each in requests if not each.startswith(("file:", "blob:", "data:"))]


def colours(page) -> int:
    """The number of different colours of the first plane."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector(".fv-plane canvas");
          const copy = document.createElement("canvas");
          Object.assign(copy, { width: 64, height: 64 });
          const brush = copy.getContext("2d");
          brush.drawImage(canvas, 0, 0, 64, 64);
          return new Set(new Uint32Array(brush.getImageData(0, 0, 64, 64).data.buffer)).size;
        }"""
    )


def test_compare_plays_from_one_file_in_the_theme_of_the_system(chromium, tmp_path):
    file = tmp_path / "flow.html"
    assert main(["export", "compare", "--data", "checkerboard", "--out", str(file)]) == 0
    assert file.stat().st_size < MAX_BYTES
    with opened(chromium, file, color_scheme="dark") as page:
        page.wait_for_selector(".fv[data-theme=dark] .fv-plane canvas")
        assert page.locator(".fv-panels figure").count() == 2
        page.wait_for_function(
            "parseFloat(document.querySelector('.fv-time').value.slice(4)) > 0.1"
        )
        page.keyboard.press("End")
        page.wait_for_function("document.querySelector('.fv-time').value === 't = 1.000'")
        assert colours(page) > 50
        page.get_by_role("button", name="Trails").click()
        page.get_by_role("button", name="Film strip").click()
        assert page.locator(".fv-strip .fv-frame").count() == 20
        text = page.inner_text("main")
        assert "conditional OT" in text and "VP diffusion" in text
        assert "python -m flowviz export compare --out compare.html" in text


def test_figures_open_from_one_file(chromium, tmp_path):
    study, file = STUDIES["schedules"], tmp_path / "schedules.html"
    config = study.config()
    result = study.result(config)
    file.write_bytes(figures_page(study, config, result))
    with opened(chromium, file) as page:
        page.wait_for_selector(".js-plotly-plot .main-svg")
        drawn = page.locator(".js-plotly-plot")
        assert drawn.count() == len(study.draw(config, result))
        assert drawn.first.bounding_box()["height"] > 200
        text = page.inner_text("main")
        findings = [each for each in study.say(config, result) if not each.detail]
        assert all(each.text in text for each in findings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given", "selector", "count"),
    [
        ("path", ["--data", "moons", "--nfe", "10"], ".fv-panels figure", 3),
        ("film", [*TINY, "--frames", "3", "--nfe", "4"], ".fi-film canvas", 2),
    ],
)
def test_one_path_and_a_film_open_from_one_file(
    chromium, tmp_path, tiny_images, monkeypatch, name, given, selector, count
):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tiny_images))
    file = tmp_path / "page.html"
    assert main(["export", name, *given, "--out", str(file)]) == 0
    with opened(chromium, file) as page:
        page.wait_for_selector(selector)
        assert page.locator(selector).count() >= count
