"""The player's modules in Chromium, one by one; then the built player without Streamlit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mounting import loaded, text

from flowviz import canvases
from flowviz.canvases import player as players
from flowviz.canvases.player import Panel, Readout, Scene, View, pack, pack_scene
from flowviz.canvases.wire import header_of
from flowviz.figures import theme
from flowviz.ui import canvas

K, N = 11, 50
TIMES = np.linspace(0, 1, K)
MODULES = (
    *("base/wire.js", "base/clock.js", "base/colour.js", "base/numbers.js"),
    *("player/geometry.js", "player/pixels.js", "player/grids.js", "player/layers.js"),
    *("player/keys.js", "player/panels.js", "player/resolution.js", "player/scenes.js"),
)


@pytest.fixture(scope="module")
def blank(tab):
    """A page with the player's modules and the built scripts of player and scene."""
    with loaded(tab, "player", *MODULES, width=1000, height=800) as page:
        source = text(canvases.assets("scene")["js"].encode())
        page.evaluate(
            """async (source) => {
                window.carry = (await import("data:text/javascript;base64," + source)).default;
            }""",
            source,
        )
        yield page


@pytest.fixture
def js(blank):
    """Evaluates an expression in which each module is an object of its name."""
    return lambda expression, argument=None: blank.evaluate(f"(x) => {expression}", argument)


@pytest.fixture
def page(blank):
    """The blank page; it collects errors and removes mounted elements after the test."""
    noise = []
    blank.on("pageerror", lambda error: noise.append(str(error)))
    blank.emulate_media(reduced_motion="no-preference")
    blank.evaluate(
        "() => { document.body.replaceChildren(); document.documentElement.style=''; messages=[] }"
    )
    yield blank
    blank.evaluate("() => document.body.replaceChildren()")
    assert not noise


def straight(seed=0, n=N, readouts=()):
    """A panel whose particles move at constant speed from noise to data, in 4 solver steps."""
    r = np.random.default_rng(seed)
    start, end = r.normal(size=(2, n, 2))

    def at(times):
        return start + times[:, None, None] * (end - start)

    steps = np.linspace(0, 1, 5)
    return Panel(f"Panel {seed}", "ot", TIMES, at(TIMES), steps, at(steps), readouts)


def plane(h=24, **changes):
    grid = np.linspace(-5, 5, h)
    bump = np.exp(-((grid[:, None] - 2) ** 2 + (grid[None] + 1) ** 2) / 2)  # at x = -1, y = 2
    given = {
        "times": TIMES,
        "density": np.broadcast_to(bump, (K, h, h)),
        "velocity": np.broadcast_to([1.0, 0.0], (K, 6, 6, 2)),
        "data": np.array([[3.0, 3.0]]),
    }
    return Scene(**(given | changes))


KEYS = iter(range(10_000))


def mounted(page, panels, scenes, view=None, autoplay=False, key=None, learned=None):
    """Mounts carriers and player as Streamlit would; returns the player's root and its key."""
    key = key or f"key{next(KEYS)}"
    packed, planes = pack(panels), [None if s is None else pack_scene(s) for s in scenes]
    more = learned and [None if s is None else pack_scene(s) for s in learned]
    page.evaluate(
        """([planes, key, envelope]) => {
            for (const plane of planes) {
                const box = document.createElement("div");
                box.dataset.testid = "stElementContainer";
                box.innerHTML = '<div><i class="fv-scene" hidden></i></div>';
                document.body.append(box);
                carry({ data: bytes(plane), parentElement: box.firstChild });
            }
            const host = document.createElement("div");
            host.id = key;
            host.attachShadow({ mode: "open" }).innerHTML =
                `<style>${document.querySelector("style").textContent}</style>` + html;
            document.body.append(host);
            const own = messages;  // late messages of an earlier player stay in its list
            window.unmount = canvas({
                data: bytes(envelope), parentElement: host.shadowRoot,
                setStateValue: (name, value) => own.push([name, value]),
            });
        }""",
        [
            [text(p) for p in [*planes, *(more or [])] if p],
            key,
            text(envelope(packed, planes, key, view, autoplay, more)),
        ],
    )
    root = page.locator(f"#{key} .fv")
    page.wait_for_function("(r) => Number(r.dataset.drawn) > 0", arg=root.element_handle())
    return root, key


def envelope(packed, planes, key, view=None, autoplay=False, learned=None):
    view = view or View()
    options = {"key": key, "learned": learned, "view": view, "autoplay": autoplay, "reserve": 300}
    return players.envelope(packed, planes, **options)[0]


def settled(page, root, condition, argument=None):
    page.wait_for_function(
        f"([r, x]) => {condition}", arg=[root.element_handle(), argument], timeout=10_000
    )


def data(root, name):
    return root.get_attribute(f"data-{name}")


def colour_at(root, panel, x, y):
    """The drawn colour at (x, y) of the unzoomed plane."""
    return root.evaluate(
        """(r, [panel, x, y]) => {
            const c = r.querySelectorAll(".fv-plane canvas")[panel];
            const at = (v) => Math.min(c.width - 1, Math.floor(v * c.width));
            return [...c.getContext("2d").getImageData(at((x + 5) / 10), at((5 - y) / 10), 1, 1)
                .data].slice(0, 3);
        }""",
        [panel, x, y],
    )


# ------------------------------------------------------------------------------------- functions


def test_unpack_reads_what_python_packed(js):
    panel = straight(readouts=(Readout("NFE", 8, 0),))
    back = js(
        """(() => {
            const h = wire.decode(bytes(x)), p = h.panels[0];
            return { frame: h.frame, title: p.title, shape: p.states.shape, limit: p.limit,
                     states: [...p.states], times: [...p.times], readout: p.readouts[0].values };
        })()""",
        text(pack([panel])),
    )
    points = np.array(back["states"]).reshape(K, N, 2) * 2 * back["limit"] / 65535 - back["limit"]
    np.testing.assert_allclose(points, panel.states, atol=1e-4)
    np.testing.assert_allclose(back["times"], TIMES, atol=1e-6)
    assert (back["frame"], back["title"], back["shape"]) == (5, "Panel 0", [K, N, 2])
    assert back["readout"] == [8]


def test_unpack_takes_bytes_that_start_anywhere_and_refuses_others(js):
    shifted = """(() => {
        const given = bytes(x), moved = new Uint8Array(given.length + 3);
        moved.set(given, 3);
        return wire.decode(moved.subarray(3)).panels.length;
    })()"""
    assert js(shifted, text(pack([straight()]))) == 1
    assert "Not a flowviz payload" in js(
        "(() => { try { wire.decode(new Uint8Array(64)) } catch (e) { return e.message } })()"
    )


@pytest.mark.parametrize(
    ("t", "k", "f"),
    [(-1, 0, 0), (0, 0, 0), (0.25, 2, 0.5), (0.3, 3, 0), (0.95, 9, 0.5), (2, 10, 0)],
)
def test_locate_finds_the_frames_around_a_time(js, t, k, f):
    found = js("clock.locate(x[0], x[1])", [[i / 10 for i in range(11)], t])
    assert (found["k"], pytest.approx(found["f"], abs=1e-9)) == (k, f)


def test_locate_agrees_with_numpy_on_uneven_times(js):
    r = np.random.default_rng(0)
    times, values = np.sort(r.random(30)), r.normal(size=30)
    ts = r.uniform(times[0], times[-1], 200)
    got = js(
        """x.ts.map((t) => { const { k, f } = clock.locate(x.times, t);
            return x.values[k] + (f > 0 ? (x.values[k + 1] - x.values[k]) * f : 0) })""",
        {"ts": ts.tolist(), "times": times.tolist(), "values": values.tolist()},
    )
    np.testing.assert_allclose(got, np.interp(ts, times, values), atol=1e-9)


def test_a_real_step_is_shown_from_its_time_on(js):
    assert js("[0, 0.24, 0.25, 0.5, 0.99, 1].map((t) => clock.stepAt([0, 0.25, 0.5, 1], t))") == [
        0, 0, 1, 2, 2, 3,
    ]  # fmt: skip


def test_steps_of_panels_that_end_apart_are_at_the_same_times(js):
    halves = [[0, 0.4995, 0.999], [0, 0.5, 1]]
    assert js("clock.aligned(x)", halves) == [[0, 0.5, 1]] * 2
    assert js("clock.aligned(x)", [[0, 0.999], [0, 0.3, 1]]) == [[0, 1], [0, 0.3, 1]]
    thirds = js("clock.aligned(x)[0]", [[0, 1 / 3, 2 / 3, 1]])
    assert js("clock.stepAt(x, 0.333)", thirds) == 1, "as a link writes it"


def test_stepping_takes_the_nearest_time_of_any_panel_and_ends_at_the_ends(js):
    lists = [[0, 0.5, 1], [0, 0.4, 0.8]]
    go = "clock.neighbour(x[0], x[1], x[2])"
    assert [js(go, [lists, t, 1]) for t in (0, 0.4, 0.5, 0.8, 1)] == [0.4, 0.5, 0.8, 1, 1]
    assert [js(go, [lists, t, -1]) for t in (1, 0.8, 0.5, 0.4, 0)] == [0.8, 0.5, 0.4, 0, 0]
    assert js(go, [[[0, 0.99]], 0.99, 1]) == 1


def test_the_clock_plays_in_the_set_time_and_stops_at_the_end(js):
    run = """(() => {
        let c = { t: 0, playing: false, speed: x }, n = 0;
        c = clock.clockAfter(c, { type: "toggle" }, 4);
        const tick = { type: "tick", seconds: 0.01 };
        for (; c.playing && n < 9999; n++) c = clock.clockAfter(c, tick, 4);
        return [n * 0.01 * x / 4, c.t, c.playing, c.release];
    })()"""
    for speed in players.SPEEDS:
        share, t, playing, release = js(run, speed)
        assert share == pytest.approx(1, abs=0.02)
        assert (t, playing, release) == (1, False, True)


def test_the_clock_reports_its_time_only_when_it_stops(js):
    after = "clock.clockAfter({ t: 0.5, playing: x[0], speed: 1 }, x[1], 4)"
    release = {
        "tick": False, "scrub": False, "release": True, "jump": True, "toggle": True,
    }  # fmt: skip
    for kind, released in release.items():
        clock = js(after, [True, {"type": kind, "t": 0.3, "seconds": 0.1}])
        assert (kind, clock["release"]) == (kind, released)
        assert clock["playing"] == (kind == "tick")
    assert js(after, [False, {"type": "scrub", "t": 7}])["t"] == 1
    assert not js(after, [False, {"type": "toggle"}])["release"]
    from_end = js("clock.clockAfter({ t: 1, playing: false, speed: 1 }, { type: 'toggle' }, 4)")
    assert (from_end["t"], from_end["playing"]) == (0, True)


def test_keys_do_what_the_help_states(js):
    meaning = {
        " ": {"act": "toggle"}, "ArrowLeft": {"act": "back"}, "ArrowRight": {"act": "forward"},
        "Home": {"act": "start"}, "End": {"act": "end"}, "f": {"act": "layout"},
        "S": {"act": "mode"}, "d": {"act": "density"}, "?": {"act": "help"}, "x": None, "7": None,
    }  # fmt: skip
    assert {key: js("keys.keyMeaning(x)", key) for key in meaning} == meaning
    assert [js("keys.keyMeaning(x)", str(i + 1))["layer"] for i in range(6)] == list(
        players.LAYERS
    )
    assert js("keys.keyMeaning(' ', true)") is None


def test_javascript_and_python_name_the_same_layers_and_speeds(js):
    assert js("layers.LAYERS") == list(players.LAYERS)
    assert js("clock.SPEEDS") == list(players.SPEEDS)


def test_a_ramp_runs_through_its_stops(js):
    pixels = js("[...colour.ramp(['#000000', '#ff8000', '#fff'], 5)]")
    colours = [(p & 255, p >> 8 & 255, p >> 16 & 255) for p in pixels]
    assert colours == [(0, 0, 0), (128, 64, 0), (255, 128, 0), (255, 192, 128), (255, 255, 255)]


def test_colours_are_read_in_each_notation(js):
    for written in ("#0072B2", "rgb(0, 114, 178)", "rgba(0, 114, 178, 0.5)"):
        assert js("colour.rgb(x)", written) == [0, 114, 178]
    assert js("colour.rgb('#fff')") == [255, 255, 255]
    assert js("colour.luminance([17, 21, 26]) < 0.5 && colour.luminance([243, 245, 247]) > 0.5")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-5, 5, [-4, -2, 0, 2, 4]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1.03, 1.27, None)],
)
def test_ticks_are_round_and_inside(js, low, high, expected):
    got = js("numbers.ticks(x[0], x[1])", [low, high])
    assert got == expected or expected is None
    assert low <= got[0] and got[-1] <= high and 3 <= len(got) <= 7


def test_zooming_keeps_the_point_under_the_pointer(js):
    w = js("geometry.zoomed({ x: 0, y: 0, r: 5 }, 0.5, 2, -1, 5)")
    assert w["r"] == 2.5
    # The point keeps its relative position in the window.
    assert ((2 - w["x"]) / w["r"], (-1 - w["y"]) / w["r"]) == pytest.approx((2 / 5, -1 / 5))
    assert js("geometry.zoomed({ x: 0, y: 0, r: 5 }, 1e6, 0, 0, 5)")["r"] == pytest.approx(8)
    assert js("geometry.zoomed({ x: 0, y: 0, r: 5 }, 1e-6, 0, 0, 5)")["r"] == pytest.approx(0.1)


def test_arrows_grow_with_speed_and_stay_in_their_cell(js):
    lengths = js("[0, 0.1, 1, 10, 1e9].map((v) => geometry.arrowLength(v, 1, 20))")
    assert lengths == sorted(lengths) and lengths[0] == 0 and lengths[-1] <= 19
    assert lengths[2] == pytest.approx(9.5)


PIXELS = "[...s.px].map((p) => p & 255)"


@pytest.mark.parametrize("radius", [0.6, 1.75, 4])
@pytest.mark.parametrize("at", [(10, 10), (10.37, 9.81), (9.5, 10.5)])
def test_a_disc_has_its_area_and_centre(js, radius, at):
    ink = np.array(
        js(
            f"""(() => {{ const s = pixels.surface(20), mask = pixels.discMasks(x[2]);
            pixels.disc(s, x[0], x[1], mask, 0xff0000ff); return {PIXELS} }})()""",
            [*at, radius],
        )
    ).reshape(20, 20)
    ink = ink / 255
    assert ink.sum() == pytest.approx(np.pi * radius**2, rel=0.12)
    centre = np.arange(20) + 0.5
    # Offsets are kept to a quarter of a pixel.
    assert (ink.sum(0) @ centre / ink.sum(), ink.sum(1) @ centre / ink.sum()) == pytest.approx(
        at, abs=0.2
    )


@pytest.mark.parametrize(
    "ends", [(2, 3, 17, 3), (5, 2, 5, 18), (2, 2, 17, 12), (16, 4, 3, 17), (3, 16, 12, 2)]
)
@pytest.mark.parametrize("width", [1, 2.4])
def test_a_line_has_its_length_times_its_width(js, ends, width):
    ink = js(
        f"""(() => {{ const s = pixels.surface(20); pixels.line(s, ...x, 0xff0000ff);
            return {PIXELS} }})()""",
        [*ends, width],
    )
    length = np.hypot(ends[2] - ends[0], ends[3] - ends[1])
    assert sum(ink) / 255 == pytest.approx(length * width, rel=0.05)


def test_a_triangle_has_its_area_in_either_orientation(js):
    for corners in ([3, 3, 17, 5, 6, 16], [3, 3, 6, 16, 17, 5]):
        ink = js(
            f"""(() => {{ const s = pixels.surface(20); pixels.triangle(s, ...x, 0xff0000ff);
            return {PIXELS} }})()""",
            corners,
        )
        assert sum(ink) / 255 == pytest.approx(0.5 * (14 * 13 - 2 * 3), rel=0.06)


def test_marks_outside_the_picture_change_no_pixel(js):
    assert js(
        """(() => { const { surface, disc, discMasks, line } = pixels, s = surface(8);
            for (const [a, b] of [[-9, 4], [4, 99], [1e7, 1e7], [-1e7, 3]])
                disc(s, a, b, discMasks(2), 1);
            line(s, -1e6, -5, 1e6, -5, 1, 0xffffffff); line(s, 30, 2, 90, 2, 1, 0xffffffff);
            return s.px.some((p) => p) })()"""
    ) is False  # fmt: skip


def test_the_plane_is_bilinear_in_its_nodes(js):
    r = np.random.default_rng(0)
    h, w, window = 7, 40, (0.5, -0.3, 3.0)
    grid = r.uniform(0, 250, (h, h))
    drawn = np.array(
        js(
            """(() => { const s = pixels.surface(x.w);
                const grey = new Uint32Array(256).map((_, i) => i);
                grids.paintDensity(s, Float32Array.from(x.grid), x.h,
                    { x: x.window[0], y: x.window[1], r: x.window[2] }, 5, grey);
                return [...s.px] })()""",
            {"w": w, "h": h, "grid": grid.ravel().tolist(), "window": window},
        )
    ).reshape(w, w)
    nodes = np.linspace(-5, 5, h)
    offsets = (np.arange(w) + 0.5) / w * 2 - 1
    xs, ys = window[0] + window[2] * offsets, window[1] - window[2] * offsets
    rows = np.stack([np.interp(xs, nodes, row) for row in grid])
    expected = np.stack([np.interp(ys, nodes, column) for column in rows.T], axis=1)
    assert np.abs(drawn - np.floor(expected)).max() <= 1


def test_a_readout_moves_with_the_clock(js):
    at = "panels.readoutAt(x[0], [0, 0.5, 1], x[1])"
    varying = {"values": [1, 2, None], "decimals": 2}
    assert [js(at, [varying, t]) for t in (0, 0.25, 0.5, 1)] == ["1.00", "1.50", "2.00", "–"]
    assert js(at, [{"values": [20], "decimals": 0}, 0.7]) == "20"


def test_the_resolution_falls_only_if_painting_is_slow(js):
    after = "resolution.qualityAfter(x[0], Array(16).fill(x[1]), x[2])"
    assert js(after, [1, [40, 20], 2]) == 0.75
    assert js(after, [0.5, [40, 20], 2]) == 0.5
    assert js(after, [1, [40, 2], 2]) == 1  # the machine is busy with something else
    assert js(after, [0.75, [16.7, 2], 2]) == 1


def test_scenes_without_a_carrier_are_removed_oldest_first(js):
    kept = js(
        """(() => { const store = scenes.sceneStore(3), carrier = {};
            store.put("always", "a", "A");
            for (const n of "bcdef") store.put(carrier, n, n.toUpperCase());
            return [..."abcdef"].map((n) => store.get(n)) })()"""
    )
    assert kept == ["A", None, None, None, "E", "F"]


# --------------------------------------------------------------------------------------- mounted


def test_density_and_data_are_drawn_at_their_coordinates(page):
    root, _ = mounted(page, [straight(), straight(1)], [plane(), None], View(layers=("density",)))
    paper, peak = colour_at(root, 0, 4, -4), colour_at(root, 0, -1, 2)
    assert paper == [255, 255, 255]
    assert sum(peak) < sum(paper) - 150
    assert colour_at(root, 0, 2, -1) == pytest.approx(paper, abs=12)  # rows are y, not x
    assert colour_at(root, 1, -1, 2) == paper  # the second panel has no scene
    root.focus()
    page.keyboard.press("5")
    settled(page, root, "r.querySelector('[data-layer=data]').ariaPressed === 'true'")
    page.wait_for_timeout(100)
    red, green, _ = colour_at(root, 0, 3, 3)
    assert green > red + 30


def test_carriers_take_no_space(page):
    mounted(page, [straight()], [plane()])
    assert page.locator("[data-testid=stElementContainer]").first.is_hidden()


def test_particles_are_drawn_at_the_coordinates_of_the_payload(page):
    states = np.zeros((K, 1, 2))
    states[:, 0, 0] = np.linspace(-3, 3, K)
    one = Panel("One", "ot", TIMES, states, [0, 1], states[[0, -1]])
    root, _ = mounted(page, [one], [None], View(t=0.55, layers=("particles",)))
    blue = colour_at(root, 0, 0.3, 0)
    assert blue[2] > blue[0] + 80
    assert colour_at(root, 0, -3, 0) == [255, 255, 255]
    root.focus()
    page.keyboard.press("s")  # the first of the two solver states is shown until the end
    settled(page, root, "r.querySelector('[data-mode=steps]').ariaPressed === 'true'")
    page.wait_for_timeout(100)
    assert colour_at(root, 0, 0.3, 0) == [255, 255, 255]
    assert colour_at(root, 0, -3, 0)[2] > colour_at(root, 0, -3, 0)[0] + 80


def test_particles_keep_the_colour_of_the_direction_of_their_start(page):
    ends = np.array([[[-2.0, 0], [2, 0]], [[1, 2], [1, -2]]])
    one = Panel("One", "ot", [0, 1], ends, [0, 1], ends, by_origin=True)
    root, _ = mounted(page, [one], [None], View(t=1.0, layers=("particles",)))
    left, right = colour_at(root, 0, 1, 2), colour_at(root, 0, 1, -2)
    for found, expected in ((left, theme.CYCLE[0][0]), (right, theme.CYCLE[0][3])):
        rgb = [int(expected[k : k + 2], 16) for k in (1, 3, 5)]
        assert found == pytest.approx(rgb, abs=40)
    assert "direction of their start" in root.locator(".fv-legend").inner_text()


def test_one_press_takes_the_same_step_in_both_panels(page):
    ends = np.array([[[-3.0, 0]], [[0, 0]], [[3.0, 0]]])
    panels = [
        Panel(name, "ot", [0, last], ends[[0, -1]], [0, last / 2, last], ends, badge=badge)
        for name, last, badge in (("OT", 0.999, ""), ("VP", 1.0, "No network"))
    ]
    root, _ = mounted(page, panels, [None, None], View(layers=("particles",), mode="steps"))
    root.focus()
    for x, t in ((0, "0.500"), (3, "1.000")):
        page.keyboard.press("ArrowRight")
        settled(page, root, "r.dataset.t === x", t)
        for panel in (0, 1):
            assert colour_at(root, panel, x, 0) != [255, 255, 255]
            assert colour_at(root, panel, -3, 0) == [255, 255, 255]
    assert root.locator(".fv-badge:visible").all_inner_texts() == ["No network"]


def test_the_slider_has_a_row_of_its_own_on_a_phone(page):
    root, _ = mounted(page, [straight(), straight(1)], [None, None])
    page.set_viewport_size({"width": 390, "height": 844})
    settled(page, root, "r.clientWidth < 400")
    slider, play = (root.locator(name).bounding_box() for name in ("input", ".fv-play"))
    assert slider["width"] > 200 and slider["y"] >= play["y"] + play["height"]
    page.set_viewport_size({"width": 1280, "height": 720})


def test_scrubbing_sends_nothing_and_release_sends_one_message(page):
    root, _ = mounted(page, [straight()], [None])
    page.evaluate(
        """() => { window.i = document.querySelector("body > div:last-child").shadowRoot
            .querySelector("input"); }"""
    )
    for t in (0.1, 0.2, 0.6):
        page.evaluate("(t) => { i.value = t; i.dispatchEvent(new Event('input')) }", t)
    settled(page, root, "r.dataset.t === '0.600'")
    page.wait_for_timeout(400)
    assert page.evaluate("messages") == []
    page.evaluate("() => i.dispatchEvent(new Event('change'))")
    page.wait_for_function("messages.length")
    page.evaluate("() => i.dispatchEvent(new Event('change'))")
    page.wait_for_timeout(100)
    ((name, view),) = page.evaluate("messages")
    assert name == "view" and view["t"] == 0.6
    assert canvas._reported(view, View()) == View(t=0.6)


def test_keys_step_play_and_switch(page):
    root, _ = mounted(page, [straight()], [plane()])
    root.focus()
    page.keyboard.press("ArrowRight")
    settled(page, root, "r.dataset.t === '0.100'")
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    settled(page, root, "r.dataset.t === '0.250'")
    page.keyboard.press("End")
    settled(page, root, "r.dataset.t === '1.000'")
    page.keyboard.press("Home")
    page.wait_for_timeout(400)
    before = len(page.evaluate("messages"))
    page.keyboard.press(" ")
    settled(page, root, "r.dataset.playing === 'true' && Number(r.dataset.t) > 0.05")
    assert len(page.evaluate("messages")) == before
    page.keyboard.press(" ")
    settled(page, root, "r.dataset.playing === 'false'")
    page.wait_for_function("(n) => messages.length > n", arg=before)
    assert page.evaluate("messages.at(-1)[1]")["mode"] == "steps"


def test_new_particles_keep_node_clock_zoom_and_switches(page):
    root, key = mounted(page, [straight()], [plane()], View(t=0.4))
    root.focus()
    page.keyboard.press("2")
    box = root.locator(".fv-plane").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 60)
    page.mouse.wheel(0, -300)
    settled(page, root, "!r.querySelector('[data-act=home]').disabled")
    ticks = "r => r.querySelector('.fv-axes').toDataURL()"
    kept, canvas = root.evaluate(ticks), root.locator(".fv-plane canvas").element_handle()
    packed, planes = pack([straight(7)]), [pack_scene(plane())]
    page.evaluate(
        """([key, envelope]) => canvas({ data: bytes(envelope), setStateValue() {},
            parentElement: document.getElementById(key).shadowRoot })""",
        [key, text(envelope(packed, planes, key))],
    )
    settled(page, root, "r.dataset.payload === x", header_of(packed, "panels")["name"])
    assert canvas.evaluate("c => c.isConnected")
    assert data(root, "t") == "0.400"
    assert root.evaluate(ticks) == kept
    assert root.locator("[data-layer=trails]").get_attribute("aria-pressed") == "true"
    assert root.locator("figcaption").first.inner_text().startswith("Panel 7")
    assert root.locator("figcaption").first.get_attribute("title").startswith("Panel 7")


def test_the_old_scene_is_shown_until_the_new_one_has_arrived(page):
    root, key = mounted(page, [straight()], [plane()], View(layers=("density",)))
    shown = colour_at(root, 0, -1, 2)
    moved = pack_scene(plane(density=np.zeros((K, 24, 24))))
    page.evaluate(
        """([key, envelope]) => canvas({ data: bytes(envelope), setStateValue() {},
            parentElement: document.getElementById(key).shadowRoot })""",
        [key, text(envelope(pack([straight()]), [moved], key))],
    )
    settled(page, root, "r.dataset.payload === ''")
    assert colour_at(root, 0, -1, 2) == shown
    page.evaluate(
        """(plane) => { const box = document.createElement("div");
            box.innerHTML = '<i class="fv-scene"></i>'; document.body.append(box);
            carry({ data: bytes(plane), parentElement: box }) }""",
        text(moved),
    )
    settled(page, root, "r.dataset.payload !== ''")
    assert colour_at(root, 0, -1, 2) == [255, 255, 255]


def test_clean_up_of_a_superseded_call_does_nothing_and_unmounting_stops_the_player(page):
    root, key = mounted(page, [straight()], [None])
    page.evaluate("() => unmount()")
    page.wait_for_timeout(50)
    root.focus()
    page.keyboard.press("End")
    settled(page, root, "r.dataset.t === '1.000'")
    page.evaluate("(key) => document.getElementById(key).remove()", key)
    page.evaluate("() => unmount()")
    page.wait_for_timeout(50)


def test_a_remounted_player_keeps_its_state(page):
    root, key = mounted(page, [straight()], [None], autoplay=True)
    settled(page, root, "r.dataset.playing === 'true'")
    root.focus()
    page.keyboard.press("End")
    page.keyboard.press("f")
    settled(page, root, "r.dataset.t === '1.000' && !r.querySelector('.fv-strip').hidden")
    page.wait_for_timeout(350)
    page.evaluate("(key) => document.getElementById(key).remove()", key)
    root, _ = mounted(page, [straight()], [None], autoplay=True, key=key)
    assert (data(root, "t"), data(root, "playing")) == ("1.000", "false")
    assert root.locator(".fv-strip").is_visible()


def test_reduced_motion_disables_autoplay(page):
    page.emulate_media(reduced_motion="reduce")
    root, _ = mounted(page, [straight()], [None], autoplay=True)
    page.wait_for_timeout(200)
    assert (data(root, "t"), data(root, "playing")) == ("0.000", "false")


def test_the_film_strip_has_ten_times_per_panel_and_a_click_sets_the_clock(page):
    root, _ = mounted(page, [straight(), straight(1)], [plane(), plane()], View(layout="strip"))
    frames = root.locator(".fv-frame")
    assert frames.count() == 20
    assert not root.locator(".fv-panels").is_visible()
    labels = [frames.nth(i).inner_text() for i in range(10)]
    assert labels == ["t = 0", *(f"{i}/9" for i in range(1, 9)), "t = 1"]
    frames.nth(3).click()
    settled(page, root, "r.dataset.t === '0.333'")
    assert frames.nth(3).get_attribute("aria-current") == "true"
    assert frames.nth(13).get_attribute("aria-current") == "true"
    drawn = root.evaluate(
        """r => [...r.querySelectorAll(".fv-frame canvas")].every((c) => new Set(new Uint32Array(
            c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size > 5)"""
    )
    assert drawn


def test_zoom_is_linked_and_a_double_click_undoes_it(page):
    root, _ = mounted(page, [straight(), straight(1)], [plane(), plane()])
    axes = "r => [...r.querySelectorAll('.fv-axes')].map((a) => a.toDataURL())"
    before = root.evaluate(axes)
    plane0 = root.locator(".fv-plane").first
    box = plane0.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -240)
    settled(page, root, "!r.querySelector('[data-act=home]').disabled")
    page.wait_for_timeout(100)
    after = root.evaluate(axes)
    assert after[0] != before[0] and after[1] != before[1]
    plane0.dblclick()
    settled(page, root, "r.querySelector('[data-act=home]').disabled")
    page.wait_for_timeout(100)
    assert root.evaluate(axes) == before


def test_on_the_whole_plane_a_wheel_turned_down_scrolls_the_page(page):
    root, _ = mounted(page, [straight()], [plane()])
    home, axes = root.locator("[data-act=home]"), "r => r.querySelector('.fv-axes').toDataURL()"
    whole = root.evaluate(axes)
    box = root.locator(".fv-plane").bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 80)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(150)
    assert home.is_disabled()
    root.focus()
    page.keyboard.press("+")
    settled(page, root, "!r.querySelector('[data-act=home]').disabled")
    page.keyboard.press("-")  # zooming out stops at the whole plane
    settled(page, root, "r.querySelector('[data-act=home]').disabled")
    page.wait_for_timeout(100)
    assert root.evaluate(axes) == whole


def test_the_theme_follows_the_page(page):
    root, key = mounted(page, [straight()], [plane()], View(layers=("density",)))
    assert (data(root, "theme"), colour_at(root, 0, 4, -4)) == ("light", [255, 255, 255])
    page.evaluate(
        "() => document.documentElement.style.setProperty('--st-background-color', '#12171B')"
    )
    again = envelope(pack([straight()]), [pack_scene(plane())], key)
    page.evaluate(
        """([key, envelope]) => canvas({ data: bytes(envelope), setStateValue() {},
            parentElement: document.getElementById(key).shadowRoot })""",
        [key, text(again)],
    )
    settled(page, root, "r.dataset.theme === 'dark'")
    page.wait_for_timeout(100)
    assert sum(colour_at(root, 0, 4, -4)) < 120


def test_layers_without_data_cannot_be_switched_on(page):
    root, _ = mounted(page, [straight()], [plane()])
    assert root.locator("[data-layer=difference]").is_disabled()
    assert root.locator("[data-layer=density]").is_enabled()


def learned_scene(h=18, **changes):
    """A scene with only a learned density, at x = 2, y = -3, at three times."""
    grid = np.linspace(-5, 5, h)
    bump = np.exp(-((grid[:, None] + 3) ** 2 + (grid[None] - 2) ** 2) / 2)
    given = {
        "times": [0, 0.9, 1],
        "density": np.stack([bump, bump, bump]),
        "density_label": "learned density p_t",
    }
    return Scene(**(given | changes))


def test_learned_density_replaces_the_exact_one_on_request(page):
    view = View(layers=("density",))
    root, _ = mounted(
        page, [straight(0), straight(1)], [plane()] * 2, view, learned=[learned_scene(), None]
    )
    ground = colour_at(root, 0, -4, -4)
    at = {"exact": (-1, 2), "learned": (2, -3)}

    def shown(panel):
        return {kind for kind, place in at.items() if colour_at(root, panel, *place) != ground}

    legend = root.locator(".fv-legend")
    assert shown(0) == shown(1) == {"exact"} and "learned" not in legend.inner_text()
    root.locator("[data-density=learned]").click()
    settled(page, root, "r.querySelector('[data-density=learned]').ariaPressed === 'true'")
    assert shown(0) == {"learned"} and shown(1) == {"exact"}, "without one the exact is kept"
    assert "learned density pt | exact density pt" in legend.inner_text().replace("\n", "")
    page.wait_for_function("messages.at(-1)?.[1].density === 'learned'")
    root.press("d")
    settled(page, root, "r.querySelector('[data-density=exact]').ariaPressed === 'true'")
    assert shown(0) == {"exact"}


def test_panels_share_one_scale_of_densities_until_each_has_its_own(page):
    half = plane(density=0.5 * np.asarray(plane().density))
    root, _ = mounted(page, [straight(0), straight(1)], [plane(), half], View(layers=("density",)))
    legend = root.locator("[data-entry=density]")

    def peaks():
        return [colour_at(root, panel, -1, 2) for panel in range(2)]

    full, dimmed = peaks()
    ground = colour_at(root, 0, -4, -4)
    assert legend.locator("b").inner_text().count("|") == 0
    assert sum(abs(a - b) for a, b in zip(dimmed, ground, strict=True)) < sum(
        abs(a - b) for a, b in zip(full, ground, strict=True)
    ), "half of the density is paler"
    legend.get_by_role("button", name="one scale").click()
    settled(page, root, "r.querySelector('[data-act=scale]').textContent === 'own scales'")
    assert peaks() == [full, full]
    assert legend.locator("b").inner_text().count("|") == 1


def test_data_points_have_the_colours_of_their_classes_and_the_legend_names_them(page):
    named = plane(
        data=np.array([[3.0, 3.0], [-3.0, 3.0]]), classes=[1, 0], class_names=("<b>one", "two")
    )
    view = View(layers=("data",))
    root, _ = mounted(page, [straight(), straight(1)], [named, plane()], view)
    colours = [colour_at(root, 0, *place) for place in ((3, 3), (-3, 3))]
    assert colours[0] != colours[1]
    legend = root.locator("[data-entry=data]")
    keys = legend.locator("i.dot:not([hidden])")
    shown = keys.evaluate_all("all => all.map((e) => getComputedStyle(e).backgroundColor)")
    assert legend.inner_text().replace("\n", "").endswith("<b>onetwo") and len(shown) == 2
    assert shown[1] == "rgb(47, 143, 179)", "half of the cycle from the first"
    root, _ = mounted(page, [straight()], [plane()], view)
    assert root.locator("[data-entry=data] i.dot:not([hidden])").count() == 1


def test_a_particle_under_the_pointer_and_its_twin_show_their_trajectories(page):
    root, _ = mounted(page, [straight(0, n=8), straight(1, n=8)], [None, None], View(t=1.0))
    states = [straight(seed, n=8).states for seed in range(2)]
    box = root.locator(".fv-plane").first.bounding_box()
    x, y = states[0][-1][3]
    place = {"x": (x + 5) / 10 * box["width"], "y": (5 - y) / 10 * box["height"]}
    middle = [each[:, 3].mean(0) for each in states]  # the middle of a straight trajectory
    plain = [colour_at(root, panel, *middle[panel]) for panel in range(2)]
    root.locator(".fv-plane").first.hover(position=place)
    entry = root.locator("[data-entry=marked]")
    settled(page, root, "!r.querySelector('[data-entry=marked]').hidden")
    apart = np.linalg.norm(states[0][-1][3] - states[1][-1][3])
    assert float(entry.inner_text().split()[-2]) == pytest.approx(apart, rel=0.01)
    for panel in range(2):
        assert colour_at(root, panel, *middle[panel]) != plain[panel]
    page.mouse.move(box["x"] + 2, box["y"] - 40)
    settled(page, root, "r.querySelector('[data-entry=marked]').hidden")

    root.locator(".fv-plane").first.click(position=place)
    page.mouse.move(box["x"] + 2, box["y"] - 40)
    page.wait_for_timeout(100)
    assert entry.is_visible(), "a click keeps it"


def test_arrows_are_faint_where_nearly_no_data_pass(page):
    root, _ = mounted(page, [straight()], [plane()], View(layers=("field",)))

    def darkest(x, y):
        """The darkest pixel of a cell of the field around (x, y), 0 to 255."""
        return root.evaluate(
            """(r, [x, y]) => {
                const c = r.querySelector(".fv-plane canvas"), w = c.width;
                const side = Math.round(w / 6);
                const left = Math.max(0, ((x + 5) / 10) * w - side / 2);
                const top = Math.max(0, ((5 - y) / 10) * w - side / 2);
                const { data } = c.getContext("2d").getImageData(left, top, side, side);
                return data.filter((_, i) => i % 4 === 0).reduce((a, b) => Math.min(a, b), 255);
            }""",
            [x, y],
        )

    assert darkest(-1, 1) + 30 < darkest(3, -3)


def test_choosing_a_density_shows_its_layer(page):
    root, _ = mounted(page, [straight()], [plane()], View(layers=("data",)), learned=[None])
    root.press("d")
    settled(page, root, "r.querySelector('[data-layer=density]').ariaPressed === 'true'")
    assert "exact density" in root.locator(".fv-legend").inner_text(), (
        "until the learned one comes"
    )


def test_the_density_cannot_be_chosen_without_a_learned_field(page):
    root, _ = mounted(page, [straight()], [plane()])
    assert not root.locator(".fv-densities").is_visible()
    root.press("d")
    page.wait_for_timeout(50)
    assert page.evaluate("messages.length") == 0


def test_readouts_and_legend_show_the_numbers_at_the_time_of_the_clock(page):
    readouts = (Readout("NFE used", 8, 0), Readout("W2", np.linspace(2, 1, K), 1, unit="plane"))
    root, _ = mounted(page, [straight(readouts=readouts)], [plane()], View(t=0.5))
    assert root.locator("figure .fv-readouts dd").all_inner_texts() == ["8", "1.5 plane"]
    assert "exact density pt" in root.locator(".fv-legend").inner_text().replace("\n", "")


def test_between_two_solver_steps_the_numbers_are_those_of_the_states_drawn(page):
    readouts = (Readout("W2", np.linspace(2, 1, K), 2),)
    view = View(t=0.6, mode="steps")  # the last of the steps at 0, 0.25, 0.5, ... is drawn
    root, _ = mounted(page, [straight(readouts=readouts)], [plane()], view)
    assert root.locator("figure .fv-readouts dd").inner_text() == "1.50"


def test_jumps_leap_in_smooth_playback_also_after_another_solver(page):
    states, times = np.array([[[-3.0, 0]], [[0, 0]], [[3.0, 0]]]), [0, 0.5, 1]
    steps = Panel("One", "ot", times, states, times, states, (Readout("W2", [3, 2, 1], 1),))
    view = View(t=0.75, layers=("particles",))
    root, key = mounted(page, [steps], [None], view)
    white, modes = [255, 255, 255], root.locator("[data-mode=smooth]")
    assert colour_at(root, 0, 1.5, 0) != white and modes.is_visible()
    packed = pack([replace(steps, jumps=True)])
    page.evaluate(
        """([key, envelope]) => canvas({ data: bytes(envelope), setStateValue() {},
            parentElement: document.getElementById(key).shadowRoot })""",
        [key, text(envelope(packed, [None], key, view))],
    )
    settled(page, root, "r.dataset.payload === x", header_of(packed, "panels")["name"])
    assert colour_at(root, 0, 1.5, 0) == white and colour_at(root, 0, 0, 0) != white
    assert root.locator("figure .fv-readouts dd").inner_text() == "2.0"
    assert "at the last step" in root.locator(".fv-legend").inner_text() and modes.is_hidden()
    root.focus()
    page.keyboard.press("ArrowRight")
    settled(page, root, "r.dataset.t === '1.000'")
    assert colour_at(root, 0, 3, 0) != white
    box = root.locator(".fv-plane").bounding_box()
    root.locator(".fv-plane").hover(position={"x": 0.8 * box["width"], "y": box["height"] / 2})
    settled(page, root, "!r.querySelector('[data-entry=marked]').hidden")
    dot, line = (sum(colour_at(root, 0, x, 0.05)) for x in (0, 1.5))
    assert dot < line - 150, "a state that a jump reaches"


def test_the_tooltip_of_a_number_opens_by_pointer_and_keyboard_inside_the_page(page):
    help = "Words that explain the number. " * 5
    panels = [straight(k, readouts=(Readout("NFE", 8, 0, help=help),)) for k in range(2)]
    root, _ = mounted(page, panels, [plane(), plane()])
    shown = "node => getComputedStyle(node, '::after').content"
    for k in range(2):
        number = root.locator("figure .fv-readouts div").nth(k)
        assert number.evaluate(shown) == "none"
        number.locator("dt").focus()
        assert help.strip() in number.evaluate(shown)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_picture_is_a_png_of_its_view(page):
    root, _ = mounted(page, [straight(), straight(1)], [plane(), plane()], View(t=0.5))
    for layout, name in (("panels", "flowviz-t0.500.png"), ("strip", "flowviz-strip.png")):
        root.locator(f"[data-layout={layout}]").click()
        with page.expect_download() as download:
            root.locator("[data-act=png]").click()
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_help_opens_and_closes_with_escape(page):
    root, _ = mounted(page, [straight()], [None])
    root.focus()
    page.keyboard.press("?")
    assert root.locator(".fv-help").is_visible()
    page.keyboard.press("Escape")
    assert root.locator(".fv-help").is_hidden()


def test_every_control_has_a_name(page):
    root, _ = mounted(page, [straight(readouts=(Readout("NFE", 1, 0),))], [plane()])
    nameless = root.evaluate(
        """r => [...r.querySelectorAll("button, input, select")]
            .filter((e) => !(e.ariaLabel || e.textContent.trim())).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_invalid_reports_are_ignored():
    known = View(t=0.3)
    for report in (None, 7, {}, {"t": "x"}, json.loads('{"t": 9, "layers": ["fog"]}')):
        assert canvas._reported(report, known) == known
