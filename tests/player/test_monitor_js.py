"""The training monitor in Chromium without Streamlit, on payloads made by Python."""

import numpy as np
import pytest
from mounting import component, frame, text

from flowviz.experiments.live import Snapshot, Trace
from flowviz.ui.monitor import LOSS_TITLE, pack

NOISE = np.random.default_rng(0).normal(size=(200, 2)).astype("f4")


def trace(path, label, *, known=True):
    steps, probes = np.arange(1, 101), np.arange(10, 101, 10)
    return Trace(
        path=path,
        label=label,
        steps=steps,
        loss=3 + 1 / steps,
        smoothed=3 + 1 / steps,
        gradient_norm=1 / steps,
        floor=3.0 if known else None,
        probe_steps=probes if known else probes[:0],
        excess=1 / probes if known else None,
        quality_steps=probes,
        quality=0.2 + 1 / probes,
        samples=NOISE / 2,
    )


def snapshot(*traces):
    return Snapshot(
        step=100,
        steps=200,
        seconds=10.0,
        rate=10.0,
        remaining=10.0,
        traces=traces,
        data=NOISE * 1.5,
        data_quality=0.1,
        frame_steps=(1, 50, 100),
        frames=tuple(tuple(NOISE / k for _ in traces) for k in (1, 2, 4)),
    )


BOTH = snapshot(trace("ot", "conditional OT"), trace("vp", "VP diffusion"))


def payload(seen=BOTH, state="live", run="a", **entries):
    content = pack(
        seen,
        run=run,
        state=state,
        panels=[("ot", "conditional OT"), ("vp", "VP diffusion")],
        data=NOISE,
        steps=200,
        **entries,
    )
    return text(content)


MODULES = ("base/wire.js", "base/numbers.js", "monitor/chart.js")


@pytest.fixture
def page(tab):
    with component(tab, "monitor", *MODULES, width=1000, height=800) as page:
        page.evaluate("mount", None)
        yield page


def show(page, content):
    page.evaluate("(content) => { show(content); }", content)
    frame(page)


def is_blank(page, selector):
    return page.locator(selector).first.evaluate(
        "c => !c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    )


def test_decoded_points_are_accurate_to_a_thousandth(page):
    back = page.evaluate(
        """text => { const m = wire.decode(bytes(text));
        return [m.data, ...m.panels.map(p => p.frames)].map(
            (words) => Array.from(wire.dequantised(words, m.limit))); }""",
        payload(),
    )
    assert np.allclose(np.reshape(back[0], (-1, 2)), NOISE, atol=2e-4)
    assert np.allclose(np.reshape(back[2], (-1, 2)), NOISE / 2, atol=2e-4)


def test_before_training_it_shows_the_data_and_a_message(page):
    show(page, payload(None, "empty", message="Live samples appear here."))
    assert not is_blank(page, ".fm-plane canvas")
    assert page.locator(".fm-plane p").first.text_content() == "Live samples appear here."
    assert page.locator("input").is_disabled()


def test_live_shows_both_paths_by_name_with_their_numbers(page):
    show(page, payload())
    captions = page.locator(".fm-panels figcaption").all_text_contents()
    assert captions[0].startswith("conditional OT") and "0.21" in captions[0]
    assert captions[1].startswith("VP diffusion")
    assert page.locator(".fm-step").text_content() == "step 100 of 200"
    label = page.locator("[data-chart=loss] canvas").get_attribute("aria-label")
    assert "minus" not in label and "irreducible floor" in label and "conditional OT 0.01" in label


def test_raw_loss_can_be_chosen_and_is_labelled(page):
    show(page, payload())
    page.get_by_role("button", name="raw").click()
    frame(page)
    assert page.locator("[data-chart=loss] .fm-title").text_content() == LOSS_TITLE
    assert "3.01" in page.locator("[data-chart=loss] .fm-values").text_content()


def test_without_a_known_floor_the_raw_loss_is_shown(page):
    show(page, payload(snapshot(trace("ot", "conditional OT", known=False))))
    assert page.get_by_role("button", name="minus floor").is_disabled()
    assert page.locator("[data-chart=loss] .fm-title").text_content() == LOSS_TITLE


def test_one_path_has_one_panel(page):
    show(page, payload(snapshot(trace("ot", "conditional OT"))))
    assert page.locator(".fm-panels figure").count() == 1


def test_nothing_jumps_from_start_to_end(page):
    places = []
    for seen, state in ((None, "empty"), (BOTH, "live"), (BOTH, "ended")):
        show(page, payload(seen, state))
        places.append(page.locator(".fm").bounding_box())
    assert places[0] == places[1] == places[2]


def test_scrub_over_the_training(page):
    show(page, payload(state="ended"))
    slider = page.locator("input")
    assert slider.is_enabled() and page.locator(".fm-step").text_content() == "step 100 of 200"
    slider.evaluate("e => { e.value = 50; e.dispatchEvent(new Event('input')); }")
    frame(page)
    assert page.locator(".fm-step").text_content() == "step 50 of 200"
    assert "0.22" in page.locator(".fm-panels figcaption").first.text_content()


def test_replay_moves_and_stops(page):
    show(page, payload(state="ended"))
    page.get_by_role("button", name="Replay").click()
    page.wait_for_function("() => document.querySelector('.fm-step').textContent < 'step 50'")
    page.get_by_role("button", name="Pause").click()
    frame(page)
    before = page.locator(".fm-step").text_content()
    frame(page)
    assert page.locator(".fm-step").text_content() == before


def test_a_curve_is_read_at_its_last_point_that_is_not_later(page):
    read = "(step) => chart.curveAt({ x: [10, 20, 30], y: [3, 2, 1] }, step)"
    assert [page.evaluate(read, step) for step in (0, 10, 19, 20, 99)] == [3, 3, 3, 2, 1]
    assert page.evaluate("chart.curveAt({ x: [], y: [] }, 5)") is None


def test_axes_include_their_values(page):
    assert page.evaluate("numbers.logRange([0.013, 0.8])") == pytest.approx([0.01, 1])
    assert page.evaluate("numbers.logTicks(0.01, 1)") == pytest.approx(
        [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    )
    assert page.evaluate("[0, 90, 300, 1500, 3000].map(s => chart.axisEnd(s, 3000))") == [
        pytest.approx(23.4375),
        93.75,
        375,
        1500,
        3000,
    ]
    assert page.evaluate("numbers.logRange([NaN, -1])") == [0.01, 1]
    assert page.evaluate("[numbers.whole(1234567), numbers.short(0.01234)]") == [
        "1,234,567",
        "0.0123",
    ]
