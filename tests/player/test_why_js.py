"""The browser's posterior on "Vector field", against Python's, without Streamlit."""

import numpy as np
import pytest
import torch
from mounting import component, frame, text
from posterior_parts import part_posterior

from flowviz.datasets import dataset
from flowviz.distributions import PointMasses
from flowviz.experiments.posterior import TouchConfig, compute_touch
from flowviz.fields import exact_field
from flowviz.figures.theme import FRAME
from flowviz.paths import AffinePath
from flowviz.schedulers import SCHEDULERS, scheduler
from flowviz.ui.why.touch import TouchView, payload

WORDS = {"part": "part", "parts": "parts"}
AT = [[1.0, 0.4], [-3.2, 2.1], [4.9, -4.9], [0.0, 0.0]]
ROWS = [0, 5, 250, 450, 499, 500]

MODULES = (
    "base/wire.js",
    "engine/target.js",
    "touch/posterior.js",
    "touch/selection.js",
    "touch/notice.js",
)

ASK = """([payload, rows, at]) => {
  const data = wire.decode(bytes(payload)), { points } = data, out = [];
  for (const k of rows) for (const [x, y] of at) {
    const c = {};
    for (const name of ["alpha", "sigma", "dAlpha", "dSigma"]) c[name] = data[name][k];
    const read = (p) => {
      const { u, v, mx, my, effective, spread } = posterior.summary(p, c);
      return { u: [u, v], mean: [mx, my], effective, spread, log: p.logDensity, w: [...p.w] };
    };
    const parts = posterior.overParts(posterior.partsOf(data.distribution), c, x, y);
    out.push([read(posterior.overPoints(points, c, x, y)), read(parts)]);
  }
  return out;
}"""


@pytest.fixture(scope="module")
def page(tab):
    with component(tab, "touch", *MODULES, width=900, height=800) as page:
        yield page


def sent(data, path, n=200, over="points", **view):
    result = compute_touch(TouchConfig(data=data, path=path, n=n))
    law = dataset(data).distribution
    content = payload(
        result,
        law,
        path=path,
        over=over,
        words=WORDS,
        view=TouchView(**view),
        key=f"{data} {view}",
    )
    return text(content), result


@pytest.mark.parametrize(
    ("path", "data"),
    [
        *((path, "checkerboard") for path in SCHEDULERS),
        *(("ot", data) for data in ("8gaussians", "pinwheel", "word:FM")),
    ],
)
def test_browser_computes_what_python_computes(page, path, data):
    shown, result = sent(data, path)
    answers = page.evaluate(ASK, [shown, ROWS, AT])
    affine, law = AffinePath(scheduler(path)), dataset(data).distribution
    drawn = PointMasses(torch.tensor(result.points))
    x = torch.tensor(AT, dtype=torch.float64)
    for r, row in enumerate(ROWS):
        t = torch.tensor(result.times[row])
        for which, source in enumerate((drawn, law)):
            field, found = exact_field(affine, source), part_posterior(affine, source, t, x)
            own = [answers[len(AT) * r + i][which] for i in range(len(AT))]
            for name, expected in (
                ("u", field(t, x)),
                ("mean", field.data_mean(t, x)),
                ("effective", found.effective),
                ("log", field.log_density(t, x)),
            ):
                got = torch.tensor([a[name] for a in own], dtype=torch.float64)
                torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)
            w = torch.tensor([a["w"] for a in own], dtype=torch.float64)
            torch.testing.assert_close(w, found.weights, rtol=0, atol=1e-8)
            got = torch.tensor([a["spread"] for a in own], dtype=torch.float64)
            torch.testing.assert_close(got, found.spread, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("data", ["checkerboard", "8gaussians", "pinwheel"])
def test_density_behind_the_point_is_the_exact_one(page, data):
    (shown, result), n, row = sent(data, "ot", n=2), 24, 300
    grid = page.evaluate(
        """([payload, k, frame, n]) => {
            const data = wire.decode(bytes(payload)), c = {};
            for (const name of ["alpha", "sigma", "dAlpha", "dSigma"]) c[name] = data[name][k];
            const axis = Float64Array.from({ length: n }, (_, i) => frame * ((2 * i + 1) / n - 1));
            const grid = new Float64Array(n * n);
            target.targetOf(data).density(c, axis, grid);
            return [...grid]; }""",
        [shown, row, FRAME, n],
    )
    axis = torch.tensor(-FRAME + (np.arange(n) + 0.5) * 2 * FRAME / n)
    t = torch.tensor(result.times[row])
    field = exact_field(AffinePath(scheduler("ot")), dataset(data).distribution)
    expected = field.density_grid(t, axis, axis)
    got = torch.tensor(grid, dtype=torch.float64).reshape(n, n)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


def test_drawn_paths_represent_all_and_stay_while_weights_change(page):
    choose = "([w, most]) => selection.selected(w, selection.ranks(w.length), most)"
    w = np.random.default_rng(0).dirichlet(np.full(1000, 0.3))
    shown = page.evaluate(choose, [w.tolist(), 160])
    assert len(shown) == 160
    assert sum(part["w"] for part in shown) == pytest.approx(1, abs=0.1)
    heaviest = set(np.argsort(w)[-30:].tolist())
    assert heaviest <= {part["i"] for part in shown}, "points of large weight are drawn"
    moved = w * np.exp(0.05 * np.random.default_rng(1).normal(size=1000))
    again = page.evaluate(choose, [(moved / moved.sum()).tolist(), 160])
    same = {p["i"] for p in shown} & {p["i"] for p in again}
    assert len(same) > 145, "else paths flicker during a drag"
    one = np.zeros(50)
    one[7] = 1
    assert page.evaluate(choose, [one.tolist(), 160]) == [{"i": 7, "w": 1}]


@pytest.mark.parametrize(
    ("effective", "over", "u", "words"),
    [
        (900, "points", 1.0, "Nearly all points contribute"),
        (40, "points", 1.2, "error of an average"),
        (1.1, "points", 2.0, "memorises"),
        (40, "points", 1.001, "reproduce the distribution's closed form"),
        (3, "parts", 1.0, "both arrows coincide"),
    ],
)
def test_notice_follows_the_numbers(page, effective, over, u, words):
    seen = {"effective": effective, "speed": u, "u": u, "v": 0, "spread": 0.5}
    exact = seen | {"u": 1.0, "speed": 1.0}
    text = page.evaluate(
        "(a) => notice.notice(a)",
        {
            "n": 1000,
            "over": over,
            "drawn": seen,
            "exact": exact,
            "words": WORDS,
            "heaviest": 1 / effective,
        },
    )
    assert words in text


def test_dragging_moves_the_point_and_sends_it_to_the_server_on_release(page):
    data, _ = sent("checkerboard", "vp", t=0.5, x=1.0, y=0.5)
    page.evaluate("mount", data)
    frame(page)
    root, plane = page.locator(".fw"), page.locator(".fw-plot canvas")
    assert root.get_attribute("data-t") == "0.500"
    box = plane.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"], steps=5)
    frame(page)
    assert float(root.get_attribute("data-x")) > 1.5
    assert page.evaluate("sent") == []
    page.mouse.up()
    page.wait_for_timeout(50)
    [[name, seen]] = page.evaluate("sent")
    assert name == "view" and seen["x"] == pytest.approx(
        float(root.get_attribute("data-x")), abs=1e-3
    )
    plane.press("ArrowLeft")
    frame(page)
    assert float(root.get_attribute("data-x")) == pytest.approx(seen["x"] - 0.1, abs=2e-3)
    before = plane.evaluate("c => c.toDataURL()")
    page.get_by_role("button", name="Trajectories").click()
    frame(page)
    assert plane.evaluate("c => c.toDataURL()") != before


def test_a_ride_returns_to_its_start(page):
    data, _ = sent("8gaussians", "ot", over="parts", t=0.0, x=0.5, y=0.25, layers=())
    page.evaluate("mount", data)
    frame(page)
    root, slider = page.locator(".fw"), page.locator(".fw input")
    page.get_by_role("button", name="Ride the flow").click()
    slider.fill("500")
    frame(page)
    place = [float(root.get_attribute(f"data-{name}")) for name in "xy"]
    x = torch.tensor([place])
    nearest = (dataset("8gaussians").distribution.means - x).norm(dim=1).min().item()
    assert nearest < 1.0, "the flow ends in one of the Gaussians"
    slider.fill("0")
    frame(page)
    assert [root.get_attribute("data-x"), root.get_attribute("data-y")] == ["0.500", "0.250"]
