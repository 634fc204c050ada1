"""Every page opens without and with a link and with notices for invalid links; controls work."""

import copy
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from apps import settled
from streamlit.testing.v1 import AppTest

from flowviz import lectures
from flowviz.canvases.player import View
from flowviz.canvases.wire import header_of
from flowviz.datasets import dataset
from flowviz.experiments import figure4, likelihood, live
from flowviz.experiments.evolution import SceneConfig
from flowviz.presets import PRESETS
from flowviz.solvers import SolveError
from flowviz.studies import _images, image_grid, image_quality, point
from flowviz.studies.flow import half_way
from flowviz.training import TrainConfig, build_field
from flowviz.ui import cache, navigation, player, study_view
from flowviz.ui.train import keeping, running

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "pages").glob("*.py"))

NORMAL = "mixture:1,0@0.8"
"""One Gaussian, whose densities are computed fast: no test waits for them."""

LINKS = {
    "home": {},
    "compare": {"data": "moons", "left": "trig", "solver": "euler", "nfe": "10", "seed": "7"},
    "images": {"view": "film", "class": "none", "guidance": "3", "solver": "heun3"},
    "train": {"data": "moons", "left": "trig", "seed": "7"},
    "why": {"data": "moons", "path": "trig", "t": "0.25", "n": "500"},
    "likelihood": {"data": NORMAL, "model": "exact-trig", "solver": "euler", "nfe": "10"},
    "schedules": {"axis": "log-snr", "paths": "ot,shaped", "shape": "a1=0.2"},
    "particles": {"data": "moons", "path": "trig", "sampler": "ancestral", "noise": "50"},
    "figure4": {"densities": "histograms", "noise": "1", "own": "1"},
    "nfe_quality": {"data": "moons", "fields": "exact-trig", "solvers": "rk4", "seeds": "2"},
    "straighter": {"data": "moons", "claim": "unlimited", "seed": "7"},
    "cfm": {"data": "moons", "paths": "trig", "network": "trained", "batch": "16", "seeds": "2"},
    "which_ot": {"data": "moons", "n": "32", "path": "shaped", "seed": "7"},
    "learned_path": {"data": "moons", "solver": "heun3", "measure": "energy", "own": "1"},
    "study": {"name": "losses"},
    "lecture": {},
    "glossary": {},
}
"""A link to each page, of parameters that it takes and values that are not the default; the search
of the glossary takes any text."""

MOVES = {
    "compare": ("left", "trig"),
    "images": ("solver", "heun3"),
    "train": ("left", "trig"),
    "why": ("path", "trig"),
    "likelihood": ("solver", "heun3"),
    "schedules": ("axis", "log-snr"),
    "particles": ("path", "trig"),
    "figure4": ("cells", "90"),
    "nfe_quality": ("grid", "log-snr"),
    "straighter": ("width", "128"),
    "cfm": ("batch", "16"),
    "which_ot": ("batch", "16"),
    "learned_path": ("solver", "midpoint"),
    "study": ("name", "losses"),
}
"""A menu of each page, and an entry of it that is not the default."""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def quick(small_studies):
    """These tests only open pages; results are tested in other files."""


@pytest.fixture(autouse=True)
def no_sweeps(monkeypatch):
    """A sweep takes seconds; test_nfe_page tests the page with curves."""
    monkeypatch.setattr("flowviz.studies._cost.solver_curves", lambda *_: iter(()))


@pytest.fixture(autouse=True)
def no_images(monkeypatch):
    """Images take seconds; test_images_page tests the page with images."""
    for module in (_images, image_grid, image_quality):
        monkeypatch.setattr(module, "compute_pieces", lambda *_, **__: iter(()))


@pytest.fixture(autouse=True)
def small_densities(monkeypatch):
    """These tests only open pages; densities are tested in other files."""
    for module, name, smaller in (
        (figure4, "compute_histograms", {"cells": 18, "n": 500}),
        (likelihood, "compute_density", {"cells": 18, "nfe": 8}),  # of Figure 4
        (point, "compute_density", {"cells": 18}),
    ):
        monkeypatch.setattr(module, name, _smaller(getattr(module, name), smaller))


def _smaller(compute, smaller):
    return lambda config, **more: compute(replace(config, **smaller), **more)


def opened(page, **link):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.switch_page(f"pages/{page.name}") if page.stem != "home" else None
    app.run()
    assert not app.exception, app.exception
    return app


def test_every_page_has_a_link_here():
    assert {page.stem for page in PAGES} <= set(LINKS), "add a link of the new page to LINKS"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_opens_and_shows_a_changed_control(page):
    app = opened(page)
    assert app.header or app.title
    assert not app.toast and not app.error
    if page.stem in ("home", "lecture", "glossary"):
        return
    slug, value = MOVES[page.stem]
    menu = next(box for box in app.selectbox if box.key.endswith(f":{slug}"))
    menu.select(value).run()
    assert not app.exception
    assert value in str(app.query_params[slug])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_opens_from_a_link_and_keeps_it(page):
    app = opened(page, **LINKS[page.stem])
    assert not app.toast
    for name, value in LINKS[page.stem].items():
        kept = app.query_params[name]
        assert (kept if isinstance(kept, str) else kept[-1]) == value


BAD = ("", "nonsense", "-1", "1e999", "x" * 500, "<b>&'\"`*")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_opens_from_invalid_links_with_a_notice_each(page):
    """Each page gets the invalid values in another order; test_state has all kinds of controls."""
    values = islice(cycle(BAD), PAGES.index(page), None)
    app = opened(page, **dict(zip(LINKS[page.stem], values, strict=False)))
    assert not app.error
    shown = " ".join(toast.value for toast in app.toast)
    for name in LINKS[page.stem]:
        assert f"`{name}`" in shown


def test_an_image_in_an_invalid_link_is_shown_as_text():
    app = opened(PAGES[0], **{next(iter(LINKS[PAGES[0].stem])): "![](//host/a.png)"})
    assert "![](" not in app.toast[0].value


def test_a_damaged_checkpoint_gives_a_notice_and_the_page_opens(tmp_path, monkeypatch):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tmp_path))
    st.cache_data.clear()
    app = opened(next(page for page in PAGES if page.stem == "compare"))
    assert ["broken.safetensors" in toast.value for toast in app.toast] == [True]
    monkeypatch.undo()
    st.cache_data.clear()


def test_several_numbers_of_a_study_are_a_menu():
    page = next(page for page in PAGES if page.stem == "study")
    app = opened(page, name="best-grid", nfes="2,4")
    assert not app.error and not app.toast
    menu = next(box for box in app.multiselect if box.key.endswith(":nfes"))
    assert menu.value == ["2", "4"] and "16" in menu.options


STEPS = [step for each in lectures.lectures().values() for step in each.steps]
VIEWS = list(dict.fromkeys((each.page, *each.link.items()) for each in (*PRESETS, *STEPS)))
"""Page and link of each preset and then of each step of a lecture."""
FIRST = {page: (page, *link) for page, *link in reversed(VIEWS)}
"""The first view of each page."""


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(view, marks=() if view in FIRST.values() else pytest.mark.slow)
        for view in VIEWS
    ],
    ids=lambda view: view[0],
)
def test_presets_and_steps_of_lectures_open_pages_in_a_valid_state(view):
    stem, *link = view
    app = opened(next(page for page in PAGES if page.stem == stem), **dict(link))
    assert not app.toast and not app.error
    if view in VIEWS[: len(PRESETS)]:
        known = {str(key).partition(":")[2] for key in app.session_state} | {"lecture", "step"}
        assert set(dict(link)) <= known, "the page reads each value of the link"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.picture)
def test_the_picture_of_a_preset_is_small(preset):
    picture = preset.file.read_bytes()
    assert picture[8:12] == b"WEBP" and len(picture) < 20_000


COMPARE, HOME = (next(page for page in PAGES if page.stem == name) for name in ("compare", "home"))


def text_of(app):
    return " ".join(element.value for element in [*app.markdown, *app.caption, *app.info])


def test_compare_says_what_to_notice_and_which_ot():
    app = opened(COMPARE)
    assert "sliced W₂" in text_of(app) and "two random samples of the data" in text_of(app)
    assert any("Which OT" in expander.label for expander in app.expander)


def test_compare_says_what_to_notice_of_jumps():
    link = {"data": "8gaussians", "right": "ot", "right-network": "none"}
    network = {"left-network": "8gaussians-ot-distillation"}
    app = settled(opened(COMPARE, solver="jumps", nfe="2", **network, **link))
    (notice,) = [each.value for each in app.markdown if "What to notice" in each.value]
    assert "Left: jumps, one per evaluation" in notice
    assert "Right: the field, integrated to the end of each jump." in notice
    assert "noise points go to the data in jumps" in notice and "paths" not in notice
    (notice,) = [
        each.value
        for each in settled(opened(COMPARE, solver="euler", nfe="2", **network, **link)).markdown
        if "What to notice" in each.value
    ]
    assert "umps" not in notice and "move to the data on their" in notice
    own = {"solvers": "1", "right-solver": "euler", "right-nfe": "2"}
    app = settled(opened(COMPARE, solver="jumps", nfe="2", **own, **network, **link))
    assert "or go there in jumps" in text_of(app)


@pytest.mark.parametrize(
    ("apart", "when"),
    [((0, 0, 0, 3, 3), 0.625), ((0, 3, 3, 3, 3), 0.125), ((0, 0, 0, 0, 0), None)],
)
def test_compare_states_the_time_of_half_the_pattern_if_there_is_one(apart, when):
    axis = np.linspace(-5, 5, 41)
    bump = [np.exp(-((axis - m) ** 2)) + np.exp(-((axis + m) ** 2)) for m in apart]
    density = np.stack([each[None, :] * np.exp(-(axis[:, None] ** 2)) for each in bump])
    scene = SimpleNamespace(times=np.linspace(0, 1, 5), density=density)
    assert half_way(SceneConfig(), scene=scene) == (
        when if when is None else pytest.approx(when, abs=1e-6)
    )


def test_a_root_link_opens_compare_which_was_the_default_page():
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.query_params["data"] = "moons"
    app.query_params["nfe"] = "10"
    app.run()
    assert not app.exception and not app.toast
    assert app.session_state["compare:data"] == "moons" and app.session_state["compare:nfe"] == 10


def test_home_explains_flow_matching_and_the_paths():
    app = settled(opened(HOME))
    assert "Flow matching" in text_of(app) and "VP diffusion moves late" in text_of(app)


def test_compare_falls_back_to_the_exact_field_and_says_so():
    app = opened(COMPARE, left="trig", field="learned")
    assert "there is no network for this data set on trigonometric" in text_of(app)
    assert "No network" not in text_of(opened(COMPARE, left="trig", field="exact"))


def test_compare_shows_the_network_of_the_session_and_its_difference():
    field = build_field(TrainConfig(width=16, depth=1), dataset("checkerboard")).eval()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.session_state["live:fields"] = {
        ("checkerboard", "ot"): (cache.content_name(field), field.requires_grad_(False))
    }
    app.query_params["figure"] = "difference"
    app.query_params["right"] = "trig"
    app.run()
    assert not app.exception and not app.toast
    assert "RMS error of the velocity" in text_of(app) and "on conditional OT" in text_of(app)
    assert "set on trigonometric" in text_of(app), "the right side has no network"


def test_a_field_is_named_by_its_content():
    field = build_field(TrainConfig(width=16, depth=1), dataset("moons"))
    name = cache.content_name(field)
    assert cache.content_name(copy.deepcopy(field)) == name
    next(field.parameters()).data.flatten()[0] += 1
    assert cache.content_name(field) != name


@pytest.mark.parametrize("figure", ["moment", "ways", "strip", "quality", "density"])
def test_compare_opens_every_figure_from_a_link(figure):
    opened(COMPARE, figure=figure, t="0.4", mode="steps", layers="particles,trails")


def test_compare_maps_the_error_of_jumps_where_a_side_is_a_flow_map(monkeypatch):
    shown = []
    monkeypatch.setattr(study_view, "show", lambda study, config, **_: shown.append(config))
    name = "8gaussians-ot-distillation"
    app = opened(COMPARE, data="8gaussians", figure="jumps", **{"left-network": name})
    assert not app.toast and [each.network.split("@")[0] for each in shown] == [name]


TRAIN = next(page for page in PAGES if page.stem == "train")


@pytest.mark.parametrize(
    ("link", "title", "samples", "floor"),
    [
        ({}, "Train a velocity field", "midpoint, 20 evaluations", True),
        ({"coupling": "minibatch-ot"}, "Train a velocity field", "midpoint, 20 eval", False),
        ({"objective": "meanflow"}, "Train a flow map", "2 jumps", False),
        ({"objective": "shortcut", "right": "none"}, "Train a flow map", "2 jumps", False),
        ({"objective": "distillation"}, "Train a flow map", "2 jumps", False),
    ],
)
def test_train_states_its_objective_and_a_floor_only_if_there_is_one(
    monkeypatch, link, title, samples, floor
):
    floors = []
    monkeypatch.setattr(running, "pack", lambda *_, floor, **__: floors.append(floor) or b"")
    monkeypatch.setattr(running, "monitor", lambda *_, **__: None)
    app = opened(TRAIN, **link)
    assert [each.value for each in app.header] == [title] and floors == [floor]
    assert f"Samples: {samples}" in text_of(app)
    assert ("of this loss is not known. Judge by the samples" in text_of(app)) is not floor
    assert ("**The floor** is the loss of the exact field" in text_of(app)) is floor
    assert ("No loss reaches 0" in text_of(app)) is floor
    paired = [each.label for each in app.selectbox if each.label in ("Coupling", "Targets")]
    assert bool(paired) is (link.get("objective") != "distillation")


def test_a_trained_flow_map_is_saved_and_opened_with_the_jumps_of_its_samples(monkeypatch):
    links, drawn, solved = [], [], live.solve
    size = {"width": 8, "depth": 1, "batch": 16, "steps": 2}
    monkeypatch.setattr(live, "solve", lambda *a, **o: drawn.append(solved(*a, **o)) or drawn[-1])
    monkeypatch.setattr(navigation, "go", lambda page, link: links.append(link))
    monkeypatch.setattr(keeping.opened, "keep", lambda content: SimpleNamespace(name="it"))
    monkeypatch.setattr(keeping.cache, "open_checkpoint", lambda card: None)
    for objective, method, nfe in (("meanflow", "jumps", 2), ("flow", "midpoint", 20)):
        *_, trained = live.train_live([TrainConfig(objective=objective, **size)])
        assert drawn[-1].nfe == nfe
        quality = keeping._card(trained, 0, "it").quality
        assert (quality["method"], quality["nfe"]) == (method, nfe)
        keeping._open_in_compare(trained)
        chosen = {name: links[-1][name] for name in ("solver", "nfe") if name in links[-1]}
        jumps = {"solver": "jumps", "nfe": "2"}
        assert chosen == (jumps if objective == "meanflow" else {})


def test_compare_explains_a_solve_that_fails():
    # Heun evaluates the last time, where the exact field of the board is stiff. The solve may
    # diverge or be inaccurate, but there is no traceback.
    opened(COMPARE, solver="heun", nfe="2", field="exact")


def test_compare_offers_only_budgets_that_the_solver_can_spend():
    app = opened(COMPARE, solver="rk4")
    (slider,) = app.select_slider
    assert all(int(option) % 4 == 0 for option in slider.options)
    app = opened(COMPARE, solver="dopri5")
    assert not app.select_slider
    assert any(box.label.startswith("Tolerance") for box in app.selectbox)


def test_compare_explains_an_invalid_budget_of_a_link():
    app = opened(COMPARE, nfe="21")
    assert "21 is not available" in app.toast[0].value
    assert not opened(COMPARE, nfe="22").toast, "affordable, though the menu does not offer it"


def test_view_of_the_player_is_in_the_link(monkeypatch):
    seen = View(t=0.25, layers=("particles", "trails"), mode="steps", layout="strip")
    monkeypatch.setattr(player, "player", lambda *args, **kwargs: seen)
    app = opened(COMPARE)
    url = {name: str(value) for name, value in app.query_params.items()}
    assert url["t"].strip("[']") == "0.25" and "particles,trails" in url["layers"]
    assert "steps" in url["mode"] and "strip" in url["layout"]


def test_learned_density_is_computed_on_request_and_described(monkeypatch):
    handed = []
    real = player.player
    monkeypatch.setattr(
        player,
        "player",
        lambda *args, **more: handed.append(more["learned"]) or real(*args, **more),
    )
    app = opened(COMPARE, density="learned", t="0.5")
    assert handed[0] == [None, None], "nothing is computed before it is requested"
    settled(app)
    scene = header_of(handed[-1][0], "scene")
    assert scene["labels"]["density"] == "learned density p_t"
    assert scene["density"]["shape"][0] == 3, "the times of the smallest config"
    assert "at t = 0.50 KL(exact ‖ learned) is" in text_of(app)
    assert not app.error


def test_no_learned_density_is_offered_for_exact_fields(monkeypatch):
    handed = []
    seen = View(density="learned")
    monkeypatch.setattr(
        player, "player", lambda *args, **more: handed.append(more["learned"]) or seen
    )
    opened(COMPARE, field="exact")
    assert handed == [None]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_says_which_ot_is_meant(page):
    """All have the same note, except for the page that it links to and pages without figures."""
    assert (
        page.stem in ("home", "lecture", "glossary", "which_ot") or "headed(\n" in page.read_text()
    )


def test_glossary_lists_what_the_search_finds():
    page = next(page for page in PAGES if page.stem == "glossary")
    assert len(opened(page).markdown) >= 40
    app = opened(page, search="wasserstein")
    assert 2 <= len(app.markdown) < 6 and "Wasserstein-2" in text_of(app)
    assert "No term" in opened(page, search="xyzzy").info[0].value


def test_theorem2_states_numbers():
    app = settled(opened(next(page for page in PAGES if page.stem == "cfm")))
    text = text_of(app)
    assert "fields have one gap between the two losses" in text and "conditional OT" in text
    assert "times the pairs" in text and "with optimal transport within 256 pairs" in text


def test_which_ot_states_crossings_cost_and_straightness():
    app = settled(opened(next(page for page in PAGES if page.stem == "which_ot")))
    text = text_of(app)
    assert "with independent pairs, " in text and "with minibatches of 8, " in text
    assert "S of the marginal flow is" in text and "W₂²" in text


LIKELIHOOD = next(page for page in PAGES if page.stem == "likelihood")


@pytest.mark.parametrize(
    ("view", "divergence"),
    [
        *((view, "exact") for view in ("point", "beside", "evolution", "kl", "table")),
        ("point", "hutchinson"),
    ],
)
def test_likelihood_opens_every_view_from_a_link(view, divergence):
    link = {"view": view, "divergence": divergence, "data": NORMAL, "cells": "54"}
    app = settled(opened(LIKELIHOOD, **link, nfe="10"))
    assert not app.error and not app.toast
    assert "nats" in text_of(app)


def test_likelihood_follows_the_point_of_a_link():
    app = settled(opened(LIKELIHOOD, data=NORMAL, x="0.25", y="-1.5", cells="54"))
    assert [box.value for box in app.number_input if box.key.endswith((":x", ":y"))] == [
        0.25,
        -1.5,
    ]
    assert "log-density" in text_of(app) and "its noise" in text_of(app)


def test_likelihood_explains_a_solve_that_fails(monkeypatch):
    def fails(config, **more):
        raise SolveError("It left the finite numbers at t = 0.5.", 0.5)

    monkeypatch.setattr("flowviz.studies.point.compute_density", fails)
    app = opened(LIKELIHOOD, data="mixture:0.5,0@0.7")
    app.session_state["work:point"].work.wait(30)
    app.run()
    assert "left the finite numbers" in app.error[0].value


FIGURE4 = next(page for page in PAGES if page.stem == "figure4")


@pytest.mark.parametrize("densities", ["exact", "histograms"])
def test_figure4_describes_the_sheet(densities):
    app = settled(opened(FIGURE4, densities=densities))
    assert "Pattern" in text_of(app) and "half of" in text_of(app)
    assert "NFE = 4 | NFE = 8 | NFE = 10 | NFE = 20" in text_of(app)
