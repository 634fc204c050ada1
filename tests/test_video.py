"""Videos of the player, and single-file pages of one path and of images."""

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from flowviz.cli import main
from flowviz.figures import theme
from flowviz.progress import Progress, Stopped
from flowviz.studies import STUDIES, video
from flowviz.studies.video import Video, compare_video

FLOW = STUDIES["flow"]
TINY = ["--left", "tiny-ot", "--right", "tiny-vp"]
SHORT = {"seconds": 1.0, "rest": 0.5, "rate": 4}


@pytest.fixture(scope="module")
def flow():
    config = FLOW.config(field="exact", nfe=2, data="moons")
    return FLOW, config, FLOW.result(config)


class StopAfter(Progress):
    """Counts reports; requests a stop after `stop_after` of them."""

    def __init__(self, stop_after=10**9):
        super().__init__()
        self.reports, self.stop_after = 0, stop_after

    def should_stop(self):
        self.reports += 1
        return self.reports > self.stop_after


def test_a_gif_has_its_frames_repeats_and_reports_progress(flow):
    progress = StopAfter()
    made = Video(suffix="gif", **SHORT)
    image = Image.open(io.BytesIO(compare_video(*flow, made, progress)))
    assert image.size == (1280, 720) and image.info["loop"] == 0
    assert b"flowviz export compare --data moons" in image.info["comment"]
    lengths, pictures = [], []
    for k in range(image.n_frames):
        image.seek(k)
        lengths.append(image.info["duration"])
        pictures.append(np.asarray(image.convert("RGB"), int))
    # Pillow merges the equal frames at the end.
    assert sum(lengths) == 1500 and lengths[:3] == [250] * 3
    assert len(pictures) == len(set(made.times())) == 4
    assert np.abs(pictures[0] - pictures[-1]).mean() > 1
    for picture in pictures:
        colours = {tuple(each) for each in picture[:60].reshape(-1, 3)}
        assert {(255, 255, 255), ImageColor.getrgb(theme.MUTED[False])} <= colours, "of the theme"
    assert progress.reports == len(made.times()) == 6


def test_an_mp4_has_its_frames(flow):
    av = pytest.importorskip("av", reason="pip install .[video]")
    made = Video(size="square", **SHORT)
    content = compare_video(*flow, made, Progress())
    with av.open(io.BytesIO(content)) as container:
        frames = [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 4
    assert len(frames) == 6 and frames[0].shape == (1080, 1080, 3)
    assert np.abs(frames[-1].astype(int) - frames[-2]).mean() < 1
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1


def test_cancel_stops_at_the_next_frame(flow):
    progress = StopAfter(stop_after=2)
    with pytest.raises(Stopped):
        compare_video(*flow, Video(suffix="gif", **SHORT), progress)
    assert progress.reports == 3


def test_without_an_encoder_an_mp4_is_refused_before_the_computation(flow, monkeypatch, capsys):
    monkeypatch.setattr(video.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"An MP4 needs PyAV; install it with pip install"):
        compare_video(*flow, Video(), Progress())
    assert main(["export", "compare", "--out", "flow.mp4"]) == 2
    assert "flowviz[video]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["compare", "--size", "720p", "--out", "a.html"], "--out must end in .mp4 or .gif"),
        (["compare", "--out", "a.avi"], "A video must end in .mp4 or .gif; got 'avi'"),
        (["compare", "--rate", "0", "--out", "a.gif"], "rate must be in 1..60; got 0."),
        (["path", "--out", "a.gif"], "--out must end in .html; got a.gif."),
    ],
)
def test_invalid_settings_of_a_video_are_refused(given, sentence, capsys):
    assert main(["export", *given]) == 2
    assert sentence in capsys.readouterr().err


def test_the_command_line_writes_a_gif(tmp_path, capsys):
    file = tmp_path / "flow.gif"
    options = ["--data", "moons", "--field", "exact", "--nfe", "2", "--rest", "0"]
    short = ["--seconds", "0.5", "--rate", "4", "--dark", "--out", str(file)]
    assert main(["export", "compare", *options, *short]) == 0
    with Image.open(file) as image:
        assert image.n_frames == 2 and "MB in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("path", ["--data", "moons", "--nfe", "10"], "Same densities"),
        ("images", [*TINY, "--n", "4", "--nfe", "4"], "NFE 4"),
        ("film", [*TINY, "--frames", "3", "--nfe", "4"], "Changes in the last tenth"),
    ],
)
def test_one_path_and_images_are_single_file_pages(
    name, given, words, tmp_path, tiny_images, monkeypatch
):
    monkeypatch.setenv("FLOWVIZ_CHECKPOINTS", str(tiny_images))
    file = tmp_path / "page.html"
    assert main(["export", name, *given, "--out", str(file)]) == 0
    text = file.read_text()
    assert words in text and f"flowviz export {name}" in text
    assert '"canvas": "' in text and "<script src" not in text and "<link" not in text
    assert file.stat().st_size < 3 * 2**20
