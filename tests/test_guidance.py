"""Findings of the study of guidance, and the images of its cells."""

from dataclasses import replace

import pytest

from flowviz.experiments.image_quality import QualityPoint
from flowviz.fields.guided import EVER
from flowviz.studies._images import ImageSide
from flowviz.studies.guidance import AUTO, FREE, INTERVAL, STUDY, GuidanceConfig, GuidanceResult

CONFIG = GuidanceConfig(weights=(1.0, 2.0), judged=50)
SIDE = ImageSide(
    name="strong",
    label="strong",
    path="ot",
    jumps=False,
    counted="images",
    classes=("cat", "dog"),
    shape=(3, 8, 8),
    images=3_000_000,
    planned=3_000_000,
    about="",
)


def result(auto, free=2.0, error=0.1):
    def point(distance, share):
        settings = ("midpoint", 10, "uniform", 2.0, 50, 0, 10, 20.0)
        return QualityPoint(*settings, {"frechet": distance, "accuracy": share}, 0.4, error=error)

    cells = {
        (FREE, 1.0): point(4.0, 0.6),
        (FREE, 2.0): point(free, 0.9),
        (INTERVAL, 2.0): point(free + 1, 0.8),
        (AUTO, 2.0): point(auto, 0.7),
    }
    weak = replace(SIDE, name="weak", label="OT (weak)", images=60_000)
    return GuidanceResult(network=SIDE, guide=weak, cells=cells)


def test_cells_differ_in_guidance_alone_and_without_guidance_there_is_one():
    assert CONFIG.cells() == [(FREE, 1.0), (FREE, 2.0), (INTERVAL, 2.0), (AUTO, 2.0)]
    free, limited = (CONFIG.image_config(kind, 2.0, 3) for kind in (FREE, INTERVAL))
    assert free == replace(limited, interval=EVER) == CONFIG.image_config(AUTO, 2.0, 3)
    assert limited.interval == (0.2, 0.8) and free.classes == (0, 1, 2)


@pytest.mark.parametrize(
    ("auto", "verdict"), [(1.0, "supported"), (1.9, "undecided"), (3.0, "not supported")]
)
def test_the_verdict_needs_a_difference_of_two_standard_errors(auto, verdict):
    texts = list(STUDY.say(CONFIG, result(auto)))
    smallest, compared, shares = texts[:3]
    assert smallest.numbers == {FREE: 2.0, INTERVAL: 3.0, AUTO: min(auto, 4.0)}
    assert (
        compared.verdict == verdict and "OT (weak) after 60,000 training images" in compared.text
    )
    assert shares.numbers == {FREE: 0.9, INTERVAL: 0.8, AUTO: 0.7}
    summary = STUDY.summarise(CONFIG, result(auto))
    assert [row[0] for row in summary.rows] == ["1", "2"]
    assert summary.rows[0][1:] == ["4.00 ± 0.10 (60%)"] * 3
    (helpless,) = [each for each in STUDY.say(CONFIG, result(5.0)) if "no weight" in each.text]
    assert helpless.verdict == "not supported" and "4.00 without it and 5.00" in helpless.text
    lines = STUDY.draw(CONFIG, result(auto))[0].figure.data
    assert {len(line.x) for line in lines if line.name in (FREE, INTERVAL, AUTO)} == {2}
