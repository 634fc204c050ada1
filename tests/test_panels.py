"""Compare with three and four panels: settings, titles, findings, figures, pictures and models."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from apps import settled
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints
from flowviz.checkpoints import opened, read_card
from flowviz.studies import STUDIES
from flowviz.studies._flow import noticed_jumps, titled
from flowviz.studies._player import panel_of, scene_of
from flowviz.studies._raster import SIZES, Stage
from flowviz.studies.flow import timing
from flowviz.ui import compare, models
from flowviz.ui.field_picker import own_label

FLOW = STUDIES["flow"]


@pytest.fixture(scope="module")
def four():
    """Two paths by two solvers."""
    config = FLOW.config(
        data="8gaussians",
        paths=("ot", "vp", "ot", "vp"),
        field="exact",
        solvers=("euler:4", "euler:4", "midpoint:4", "midpoint:4"),
    )
    return config, FLOW.result(config)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"paths": ("ot",)}, "There must be 2 to 4 paths, one a panel; got 1."),
        ({"paths": ("ot",) * 5}, "There must be 2 to 4 paths, one a panel; got 5."),
        ({"networks": ("none",)}, "networks must have an entry for each of the 2 paths"),
        ({"solvers": ("euler:x", "euler")}, "must be like euler:8 .* got 'euler:x'"),
        ({"solvers": ("euler:0", "euler")}, "nfe must be in 1"),
        ({"solvers": ("dopri5:2", "euler")}, "tol must be in"),
        ({"solvers": ("eulr", "euler")}, "Did you mean 'euler'"),
        ({"solvers": ("rk4:10", "euler")}, "rk4 cannot take exactly 10"),
    ],
)
def test_settings_of_panels_are_checked(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        FLOW.config(**given)


def test_more_panels_and_costlier_solvers_take_longer():
    two = FLOW.cost(FLOW.config())
    assert FLOW.cost(FLOW.config(paths=("ot",) * 4)) == 2 * two
    assert FLOW.cost(FLOW.config(solvers=("euler:100", "euler:20"))) == pytest.approx(3 * two)


def test_each_panel_has_its_solver_the_same_noise_and_a_title_of_its_own(four):
    sides = four[1].sides
    assert [side.config.method for side in sides] == ["euler", "euler", "midpoint", "midpoint"]
    assert [side.flow.nfe for side in sides] == [4] * 4
    assert len({side.title for side in sides}) == 4 and "(midpoint)" in sides[2].title
    first, *others = (side.flow.states[0] for side in sides)
    assert all(np.array_equal(first, each) for each in others)
    own = [
        replace(side, config=replace(sides[0].config, field=name))
        for side, name in ((sides[0], "open-0123456789abcdef@fedcba987654"), (sides[0], "exact"))
    ]
    assert [side.title for side in titled(own)] == [
        "conditional OT (your network fedc)",
        "conditional OT (exact)",
    ]

    def mixed(first, *, integrated):
        flows = [replace(sides[0].flow, integrated=each) for each in (False, True)]
        config = replace(sides[0].config, method="jumps")
        jumps = replace(sides[0], label="VP diffusion", config=config, flow=flows[integrated])
        left = replace(sides[0], label="conditional OT", flow=flows[False])
        left = replace(left, config=replace(left.config, method=first))
        return [side.title for side in titled([left, jumps])]

    both = mixed("jumps", integrated=True)
    assert both == ["conditional OT (flow map)", "VP diffusion (integrated)"]
    euler, jumping = mixed("euler", integrated=True)
    assert euler == "conditional OT (Euler)" and jumping.endswith(", integrated)")
    assert mixed("jumps", integrated=False) == ["conditional OT", "VP diffusion"]


@pytest.mark.parametrize(
    ("solvers", "maps", "texts"),
    [
        ("jumps jumps", 2, ["Jumps, one per evaluation ([NFE](nfe)), with no trajectory"]),
        ("jumps jumps", 0, ["Left and right: the field, integrated to the end of each jump."]),
        ("jumps jumps", 1, ["Left: jumps, one per", "Right: the field, integrated"]),
        ("jumps euler", 1, ["Left: jumps, one per", "Right: steps along"]),
        ("euler jumps", 0, ["Right: the field", "Left: steps along the velocity."]),
        ("euler midpoint", 0, []),
    ],
)
def test_what_to_notice_of_jumps_is_true_for_each_panel(four, solvers, maps, texts):
    names = tuple(solvers.split())
    config = replace(four[0], paths=("ot", "vp"), networks=(), solvers=names)
    sides = [
        replace(
            side,
            config=replace(side.config, method=name),
            flow=replace(side.flow, integrated=name == "jumps" and k >= maps),
        )
        for k, (side, name) in enumerate(zip(four[1].sides, names, strict=False))
    ]
    notice, unknown = noticed_jumps(config, sides), noticed_jumps(config)
    assert [each for each in texts if each not in notice] == [] and bool(notice) == bool(texts)
    assert notice.count(". ") + bool(notice) == len(texts)
    assert ("umps, one per evaluation" in notice) == bool(maps)
    assert unknown.startswith("Jumps, one") if texts else not unknown


def test_findings_name_every_panel_and_the_two_ends_that_differ_most(four):
    config, result = four
    findings = {each.lead: each for each in FLOW.say(config, result)}
    assert all(side.title in findings["Distance to the data"].text for side in result.sides)
    assert list(findings["Distance to the data"].numbers) == [
        "left",
        "right",
        "third",
        "fourth",
        "floor",
    ]
    ends = [side.flow.states[-1] for side in result.sides]
    apart = [np.linalg.norm(a - b, axis=1).mean() for a in ends for b in ends]
    assert findings["Same start"].numbers["apart"] == pytest.approx(max(apart))
    assert "conditional OT moves early" in findings["When it happens"].text
    jumping = replace(result.sides[0], config=replace(result.sides[0].config, method="jumps"))
    assert not list(timing([jumping, *result.sides[1:]])), "no time between its jumps is known"


def test_four_panels_have_two_rows_in_figures_and_videos(four):
    config, result = four
    (drawn,) = FLOW.draw(replace(config, t=0.5), result)
    axes = [
        (axis.domain, other.domain)
        for axis, other in zip(
            drawn.figure.select_xaxes(), drawn.figure.select_yaxes(), strict=True
        )
    ]
    assert len(set(axes)) == 4 and len({x for x, _ in axes}) == len({y for _, y in axes}) == 2
    assert drawn.squares == 1 and set(drawn.columns["panel"]) == {s.title for s in result.sides}
    panels, scenes = map(panel_of, result.sides), map(scene_of, result.sides)
    stage = Stage(list(panels), list(scenes), "square")
    pixels = stage.frame(0.5)
    assert stage.columns == 2 and pixels.shape == (*SIZES["square"], 3)
    half = len(pixels) // 2
    assert all((part < 250).any() for part in (pixels[:half], pixels[half:]))


@pytest.fixture(scope="module")
def jumping():
    """Two jumps of a flow map, and the exact ends of the same jumps."""
    names = ("8gaussians-ot-distillation", "none")
    config = FLOW.config(
        data="8gaussians", paths=("ot", "ot"), networks=names, method="jumps", nfe=2
    )
    return config, FLOW.result(config)


@pytest.mark.parametrize("picture", ["moment", "strip", "origin"])
def test_figures_have_states_that_jumps_reach_and_none_between(jumping, picture):
    config, result = jumping
    (figure,) = FLOW.draw(replace(config, picture=picture, t=0.4), result)
    for side, rows in zip(result.sides, figure.tables, strict=True):
        early = rows["t"] < 0.5 if picture == "strip" else np.full(len(rows["x1"]), True)
        found = np.stack([rows["x1"][early], rows["x2"][early]], axis=-1)
        starts = {*map(tuple, side.flow.step_states[0].tolist())}
        assert {*map(tuple, found.tolist())} <= starts and early.any()


def test_quality_over_time_has_a_marker_for_each_state_that_jumps_reach(jumping):
    config, result = jumping
    (figure,) = FLOW.draw(replace(config, picture="quality"), result)
    for side, drawn in zip(result.sides, figure.figure.data, strict=False):
        assert drawn.mode == "markers" and np.array_equal(drawn.x, side.flow.step_times)


def test_a_frame_of_a_film_has_states_that_jumps_reach(jumping):
    panels = [panel_of(side) for side in jumping[1].sides]
    assert all(panel.jumps and not np.isfinite(panel.readouts[1].values) for panel in panels)
    early, late = (Stage(panels, [None, None])._plane(0, t, 0.0) for t in (0.0, 0.45))
    assert np.array_equal(early, late)
    assert (Stage(panels, [None, None])._plane(0, 0.5, 0.0) != early).any()


def test_a_frame_of_a_film_has_the_states_of_steps_if_only_these_are_shown(four):
    panel = panel_of(four[1].sides[0])
    times = np.linspace(*panel.step_times[:2], 4)[1:3]  # within the first step
    for steps in (True, False):
        stage = Stage([panel], [None], steps=steps)
        early, late = (stage._plane(0, float(t), 0.0) for t in times)
        assert np.array_equal(early, late) == steps


def test_a_learned_density_is_offered_for_velocities_and_not_for_the_jumps_of_a_map(jumping):
    config, result = jumping
    page = SimpleNamespace(config=config)
    assert compare._density_config(page, result) is None
    left, right = result.sides
    steps = replace(left, config=replace(left.config, method="midpoint"))
    both = replace(result, sides=(steps, left, right))
    assert compare._density_config(page, both).networks == (steps.config.field,)


def test_models_of_the_session_are_listed_and_two_of_them_open_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWVIZ_HOME", str(tmp_path))
    card = replace(read_card("moons-ot-meanflow"), name="open-0123456789abcdef")
    label = own_label(card)
    assert re.fullmatch(r"your network \w{4} \(MeanFlow \(flow map\)\), 4,000 steps", label), label
    cards = [
        opened.keep((checkpoints.FOLDER / f"{name}.safetensors").read_bytes())
        for name in ("moons-ot", "moons-vp", "circles-ot")
    ]
    linked = models.link(cards[:2])
    assert linked["panels"] == "2" and linked["right-network"] == cards[1].name

    def app(names):
        import streamlit as st

        from flowviz.checkpoints import opened
        from flowviz.ui import cache, models, state

        state.visit("compare")
        for name in names:
            cache.open_checkpoint(opened.recall(name))
        models.listed()
        st.text("drawn")

    test = AppTest.from_function(app, args=([card.name for card in cards],), default_timeout=30)
    test.run()
    assert not test.exception and "(3)" in test.expander[0].label
    assert all(card.sha256[:4] in test.markdown[0].value for card in cards)
    assert test.button[0].disabled
    test.multiselect[0].select(cards[0].name).select(cards[2].name).run()
    assert "one data set" in test.caption[0].value and test.button[0].disabled
    test.multiselect[0].set_value([cards[0].name, cards[1].name]).run()
    assert not test.button[0].disabled and not test.caption


def test_only_a_panel_without_a_network_links_to_the_training_on_its_data():
    def links(**query):
        app = AppTest.from_file("../app.py", default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.switch_page("pages/compare.py").run()
        settled(app)
        found = [each.proto for each in app.get("page_link")]
        return [each.query_string for each in found if each.label == "Train networks on this data"]

    assert links(data="moons", field="exact", nfe="4") == ["data=moons"]
    assert links(data="moons", nfe="4") == []


def test_the_table_of_trajectories_has_the_state_of_each_particle_and_step(four):
    config, result = four
    (figure,) = FLOW.draw(replace(config, picture="ways"), result)
    for side, rows in zip(result.sides, figure.tables, strict=True):
        assert list(rows) == ["panel", "path", "particle", "t", "x1", "x2"]
        at = (rows["particle"] == 7) & (rows["t"] == side.flow.step_times[2])
        found = [rows[name][at].tolist() for name in ("x1", "x2")]
        assert found == side.flow.step_states[2, 7, :, None].tolist()
