"""Payloads of the canvases, decoded by a parser that only the tests use."""

import json
import struct

import numpy as np
import pytest

from flowviz.canvases.images import FilmSide, FilmView, Sheet, pack_film, pack_sheets
from flowviz.canvases.player import PEAK, REACH, Panel, Readout, Scene, View, pack, pack_scene
from flowviz.canvases.wire import encode, header_of

K, N, S = 5, 40, 3
TIMES = np.linspace(0, 0.99, K)


def parsed(payload):
    """Header and arrays, parsed as the description of the format states."""
    magic, version, length, zero = struct.unpack_from("<4sIII", payload)
    assert (magic, version, zero, length % 8) == (b"FLOW", 1, 0, 0)
    start = 16 + length

    def filled(node):
        if isinstance(node, dict) and "dtype" in node:
            assert node["offset"] % 8 == 0
            count = int(np.prod(node["shape"]))
            array = np.frombuffer(payload, "<" + node["dtype"], count, start + node["offset"])
            return array.reshape(node["shape"])
        if isinstance(node, dict):
            return {name: filled(value) for name, value in node.items()}
        return [filled(value) for value in node] if isinstance(node, list) else node

    return filled(json.loads(payload[16:start]))


def panel(seed=0, scale=1.0, **changes):
    r = np.random.default_rng(seed)
    given = {
        "title": "Conditional OT",
        "role": "ot",
        "times": TIMES,
        "states": scale * r.normal(size=(K, N, 2)),
        "step_times": np.linspace(0, 0.99, S + 1),
        "step_states": scale * r.normal(size=(S + 1, N, 2)),
    }
    return Panel(**(given | changes))


def scene(seed=0, h=16, g=6, d=7, **changes):
    r = np.random.default_rng(seed)
    given = {
        "times": TIMES,
        "density": r.exponential(size=(K, h, h)) * np.logspace(-3, 2, K)[:, None, None],
        "velocity": r.normal(size=(K, g, g, 2)) * np.logspace(0, 4, K)[:, None, None, None],
        "difference": r.exponential(size=(K, d, d)),
        "data": r.normal(size=(30, 2)),
    }
    return Scene(**(given | changes))


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_decoded_points_are_within_half_a_step(scale):
    given = panel(scale=scale)
    back = parsed(pack([given]))["panels"][0]
    step = 2 * back["limit"] / 65535
    for name in ("states", "step_states"):
        points = back[name] * step - back["limit"]
        reachable = np.clip(getattr(given, name), -back["limit"], back["limit"])
        # Half a step and the rounding of float32.
        assert np.abs(points - reachable).max() <= step / 2 + 1e-6 * back["limit"]
    np.testing.assert_allclose(back["times"], TIMES, atol=1e-7)
    assert back["states"].shape == (K, N, 2)


def test_distant_points_are_moved_to_the_edge_and_near_ones_keep_their_precision():
    states = np.zeros((K, N, 2))
    states[:, 0] = 1e6
    back = parsed(pack([panel(states=states)]))["panels"][0]
    assert back["limit"] == REACH * 5
    assert back["states"][:, 0].min() == 65535


def test_decoded_density_is_within_half_a_step_of_its_root():
    given = scene()
    back = parsed(pack_scene(given))
    peaks = np.quantile(given.density.reshape(K, -1), PEAK, axis=1)
    np.testing.assert_allclose(back["density_peak"], peaks, rtol=1e-5)
    root = np.sqrt(np.clip(given.density / peaks[:, None, None], 0, 1))
    assert np.abs(back["density"] / 255 - root).max() <= 0.5 / 255 + 1e-5


def test_decoded_velocity_is_within_half_a_step_of_its_time():
    given = scene()
    back = parsed(pack_scene(given))
    scale = back["velocity_scale"][:, None, None, None]
    error = np.abs(back["velocity"] * scale - given.velocity)
    assert np.all(error <= 0.501 * scale)
    assert back["speed"] == pytest.approx(np.median(np.linalg.norm(given.velocity, axis=-1)))


def test_difference_and_data_are_decoded():
    given = scene()
    back = parsed(pack_scene(given))
    root = np.sqrt(np.clip(given.difference / back["difference_peak"], 0, 1))
    assert np.abs(back["difference"] / 255 - root).max() <= 0.5 / 255 + 1e-5
    step = 2 * back["data_limit"] / 65535
    assert np.abs(back["data"] * step - back["data_limit"] - given.data).max() <= step


def test_a_plane_of_zero_velocity_is_not_divided_by_zero():
    zeros = scene(
        density=np.zeros((K, 4, 4)),
        velocity=np.zeros((K, 4, 4, 2)),
        difference=np.zeros((K, 4, 4)),
    )
    back = parsed(pack_scene(zeros))
    assert not back["density"].any() and not back["velocity"].any()
    assert back["speed"] == 1.0


def test_layers_without_data_are_omitted():
    back = parsed(pack_scene(Scene(TIMES, data=np.zeros((3, 2)))))
    assert not {"density", "velocity", "difference"} & set(back)


def test_readouts_have_their_numbers_and_a_dash_for_values_that_are_not_finite():
    given = panel(readouts=(Readout("NFE", 20, 0), Readout("W2", [1, np.nan, 1 / 3, np.inf, 0])))
    nfe, w2 = parsed(pack([given]))["panels"][0]["readouts"]
    assert nfe["values"] == [20] and nfe["decimals"] == 0
    assert w2["values"] == [1, None, 0.333333, None, 0]


def test_equal_content_has_equal_names_and_other_content_others():
    names = [header_of(pack([panel(seed)]), "panels")["name"] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    names = [header_of(pack_scene(scene(seed)), "scene")["name"] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_a_role_is_a_path_without_its_parameters():
    assert parsed(pack([panel(role="vp:beta_max=10")]))["panels"][0]["role"] == "vp"


def test_numbers_that_are_not_finite_are_refused_with_a_message():
    with pytest.raises(ValueError, match=r"states of panel .* must be finite; got 400"):
        pack([panel(states=np.full((K, N, 2), np.nan))])
    with pytest.raises(ValueError, match="velocity must be finite"):
        pack_scene(scene(velocity=np.full((K, 4, 4, 2), np.inf)))


def test_two_scenes_can_share_the_scale_of_their_densities():
    shared = np.linspace(1, 2, len(scene().times))
    head = header_of(pack_scene(scene(density_peaks=shared)), "scene")
    raw = pack_scene(scene(density_peaks=shared))
    start = len(raw) - len(raw[16:]) + struct.unpack_from("<I", raw, 8)[0]
    entry = head["density_peak"]
    kept = np.frombuffer(raw, "<f4", len(shared), start + entry["offset"])
    np.testing.assert_allclose(kept, shared, rtol=1e-6)


def test_foreign_bytes_are_refused():
    with pytest.raises(ValueError, match="must be of the kind 'panels'; got other bytes"):
        header_of(b"nothing of ours", "panels")
    with pytest.raises(ValueError, match="must be of the kind 'scene'; got other bytes"):
        header_of(pack([panel()]), "scene")


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8", ">f4"])
def test_arrays_of_any_depth_are_decoded(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    back = parsed(encode({"a": [{"b": array.T}, 7, None], "c": "ü"}))
    np.testing.assert_array_equal(back["a"][0]["b"], array.T)
    assert (back["a"][1:], back["c"], len(back["name"])) == ([7, None], "ü", 16)


@pytest.mark.parametrize("value", [np.zeros(3, "i8"), {1, 2}, np.array(["a"])])
def test_values_outside_the_format_are_refused(value):
    with pytest.raises(TypeError, match="A payload holds arrays of u1, u2, i2, f4, f8; got"):
        encode({"a": value})


@pytest.mark.parametrize(
    "changes",
    [
        {"t": 2},
        {"layers": ("fog",)},
        {"mode": "fast"},
        {"layout": "x"},
        {"speed": 3},
        {"density": "?"},
    ],
)
def test_a_view_accepts_only_valid_values(changes):
    with pytest.raises(ValueError, match="must be"):
        View(**changes)


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def sheet_of(row, columns, size):
    content = parsed(pack_sheets([Sheet("OT", ("#000000", "#ffffff"), row, columns, size)]))
    return content["panels"][0]


def test_a_sheet_has_the_images_that_are_available():
    row = images(3, 3, 4, 5)
    panel = sheet_of([row, None], 3, (4, 5))
    assert panel["cells"].shape == (2, 3, 4, 5, 3)
    np.testing.assert_array_equal(panel["cells"][0], row.transpose(0, 2, 3, 1))
    assert panel["present"] == [True] * 3 + [False] * 3


def test_grey_images_are_sent_in_colour():
    row = images(2, 1, 4, 4)
    cells = sheet_of([row], 2, (4, 4))["cells"][0]
    np.testing.assert_array_equal(cells, np.repeat(row, 3, axis=1).transpose(0, 2, 3, 1))


def film_side(count):
    states, times = images(5, count, 3, 4, 4), np.linspace(0, 1, 5)
    colours = ("#000000", "#ffffff")
    return FilmSide("OT", colours, times, states, states[::-1], 1 - times, np.ones((5, count)))


def test_a_film_has_every_time_of_every_image():
    side = film_side(2)
    sent = parsed(pack_film([side], ["a", "b"], FilmView()))["sides"][0]
    for name in ("states", "predictions"):
        np.testing.assert_array_equal(sent[name], getattr(side, name).transpose(0, 1, 3, 4, 2))
    np.testing.assert_allclose(sent["noise"], side.noise, atol=1e-6)
    assert sent["remaining"].shape == (5, 2) and len(sent["times"]) == 5


def test_films_of_different_lengths_cannot_share_a_clock():
    with pytest.raises(ValueError, match="one number and size"):
        pack_film([film_side(2), film_side(3)], ["a", "b"], FilmView())
