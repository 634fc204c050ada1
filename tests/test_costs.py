"""The estimated time of work: what a link can start, and what starts only after a click."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from flowviz import checkpoints
from flowviz.checkpoints.images import ImageCheckpoint, load_images, unet_shape
from flowviz.experiments.fields import SHIPPED, FieldRef
from flowviz.fields import LearnedField
from flowviz.networks import MLP, UNet
from flowviz.objectives import OBJECTIVES
from flowviz.settings import settings
from flowviz.studies import STUDIES
from flowviz.studies._flow import CompareConfig
from flowviz.studies._images import size_factor
from flowviz.studies.density import DensitiesConfig
from flowviz.studies.figure4 import Figure4Config
from flowviz.studies.image_grid import ImageGridConfig
from flowviz.studies.image_straightness import ImageStraightnessConfig
from flowviz.studies.kl import KlConfig
from flowviz.ui import study_view
from flowviz.ui.study_view import invitation

APP = Path(__file__).parents[1] / "app.py"


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_every_number_of_a_page_states_how_the_time_grows(study):
    for each in settings(study.config).values():
        counts = each.type is int and each.bounds and each.kind != "seed"
        if counts and not each.advanced and not each.display:
            assert each.work is not None, f"{study.name}: {each.name} must declare its work"
    assert study.cost(study.config()) == pytest.approx(study.seconds)


def test_the_cost_follows_the_settings():
    study = STUDIES["density"]
    usual = study.cost(DensitiesConfig())
    assert study.cost(DensitiesConfig(nfe=80)) == pytest.approx(2 * usual)
    assert study.cost(DensitiesConfig(cells=180)) == pytest.approx(4 * usual)
    # An adaptive solver does not use NFE, a fixed-step solver uses no tolerance.
    loose, tight = (
        study.cost(DensitiesConfig(method="dopri5", nfe=20_000, tol=tol)) for tol in (1e-5, 1e-10)
    )
    assert tight == pytest.approx(10 * loose) and loose < 5 * usual
    low = DensitiesConfig(method="adaptive-heun", tol=1e-7)  # of order 2: NFE ~ tol^(-1/2)
    assert study.cost(low) == pytest.approx(10 * study.cost(replace(low, tol=1e-5)))
    on_ve, on_ot = (STUDIES["kl"].cost(KlConfig(path=path)) for path in ("ve", "ot"))
    assert on_ve > 1.5 * on_ot
    assert study.cost(DensitiesConfig(tol=1e-12)) == usual
    counted = Figure4Config(densities="histograms", cells=144)  # counts of the same samples
    assert STUDIES["figure4"].cost(counted) == STUDIES["figure4"].seconds
    assert invitation(study, DensitiesConfig(nfe=80)) == ""
    assert invitation(study, DensitiesConfig(nfe=20_000)) == (
        "Takes about 25 min with these settings."
    )
    lanes = [study_view.lane_of(study, DensitiesConfig(nfe=nfe)) for nfe in (40, 80, 20_000)]
    assert lanes == ["quick", "short", "long"]


def test_large_networks_take_longer_and_few_are_kept_in_memory(tmp_path):
    """Users can open networks of 64 MB: a link to one must not start minutes of work."""
    usual = checkpoints.load("moons-ot")
    entries = usual.card.network | {"width": 800, "depth": 3}
    large = MLP(width=800, depth=3, octaves=entries["octaves"])
    field = LearnedField(large, usual.field.path, OBJECTIVES["flow"], mean=torch.zeros(2), std=1.0)
    names = [
        str(checkpoints.save(tmp_path / f"n{k}", field, replace(usual.card, network=entries)))
        for k in range(5)
    ]
    study, small = STUDIES["flow"], CompareConfig(data="moons")
    given = replace(small, networks=(names[0], "none"))
    assert study.cost(given) == pytest.approx(3 * 800**2 / SHIPPED * study.cost(small))
    first, *_ = [FieldRef.of(name) for name in names]
    assert FieldRef.of(names[-1]) is FieldRef.of(names[-1])
    assert FieldRef.of(names[0]) is not first, "four large networks are kept"


def test_the_cost_of_images_counts_their_evaluations():
    grid, straightness = (STUDIES[name] for name in ("image-grid", "image-straightness"))
    usual = grid.cost(ImageGridConfig())
    assert grid.cost(ImageGridConfig(n=64, nfe=40)) == pytest.approx(8 * usual)
    assert grid.cost(ImageGridConfig(guidance=1.0)) == pytest.approx(usual / 2)
    rows = ImageGridConfig(view="nfe", n=1_000, nfe=2)  # neither is used: 5 images in each row
    assert grid.cost(rows) == pytest.approx(5 * (2 + 5 + 10 + 20 + 50 + 100) / (16 * 20) * usual)
    tight = straightness.cost(ImageStraightnessConfig(tol=1e-8))
    assert tight == pytest.approx(10 * straightness.cost(ImageStraightnessConfig(nfe=1_000)))


def test_large_networks_of_images_take_longer():
    """A card of 256 x 256 pixels: one evaluation takes as long as hundreds of a shipped one."""
    found = load_images("cifar10-ot")
    entries = found.card.network | {"model_channels": 16, "channel_mult": [1], "patch": 1}
    entries |= {"attention_resolutions": [], "groups": 8, "num_heads": 1}
    card = replace(found.card, network=entries, size=256)
    large = UNet(unet_shape(card), channels=3, size=256, num_classes=10)
    sides = [SimpleNamespace(checkpoint=each) for each in (found, ImageCheckpoint(card, large))]
    assert size_factor(sides[:1]) == 1
    factor = size_factor(sides)
    assert factor > 50
    study, config = STUDIES["image-grid"], ImageGridConfig()
    assert invitation(study, config) == "" and study_view.lane_of(study, config) == "quick"
    assert invitation(study, config, factor=factor).startswith("Takes about ")
    assert study_view.lane_of(study, config, factor) == "long"


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("compare", {"nfe": "100"}),
        ("particles", {"nfe": "200"}),
        ("likelihood", {"view": "beside", "nfe": "160"}),
        ("nfe_quality", {"n": "2000", "seeds": "8"}),
        ("images", {"n": "64", "nfe": "100"}),
        ("images", {"view": "film", "nfe": "100"}),
    ],
)
def test_a_link_cannot_start_long_work(page, link, monkeypatch):
    monkeypatch.setattr(study_view, "START_SECONDS", 0.0)
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update(link)
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    assert not [key for key in app.session_state if key.startswith("work:")]
    estimates = [each.value for each in app.markdown if each.value.startswith("Takes about")]
    assert estimates and any(each.label == "Compute" for each in app.button)
