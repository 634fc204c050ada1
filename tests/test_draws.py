"""Random streams: reproducible, distinct for every seed, name and index."""

import re
from pathlib import Path

import torch

from flowviz.draws import noise, stream

PACKAGE = Path(__file__).parents[1] / "flowviz"


def test_streams_of_all_seeds_names_and_indices_differ():
    names = ("noise", "data", "reference", "floor", "likelihood")
    streams = [stream(seed, name) for seed in range(300) for name in names]
    streams += [stream(seed, "floor", k) for seed in range(20) for k in range(20)]
    firsts = {tuple(torch.randint(2**31, (2,), generator=each).tolist()) for each in streams}
    assert len(firsts) == len(streams)


def test_stream_and_noise_repeat():
    assert torch.equal(noise(5, 3), noise(5, 3))
    assert torch.equal(noise(5, 3), torch.randn(5, 2, generator=stream(3, "noise")))
    x = noise(4, 0, (3, 8, 8))
    assert torch.equal(noise(6, 0, (3, 8, 8))[:4], x)
    assert x.shape == (4, 3, 8, 8)


def test_streams_are_uncorrelated():
    x = torch.stack([noise(20_000, seed).flatten() for seed in range(6)])
    assert (torch.corrcoef(x) - torch.eye(6)).abs().max() < 5 / 200


def test_no_other_module_derives_seeds():
    """Training streams are derived elsewhere until those of classifier and plane move here."""
    elsewhere = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"manual_seed\(", path.read_text())
    ]
    allowed = {
        "draws.py",
        "datasets/entry.py",  # the fixed sample of the shipped cards
        "experiments/benchmark_training.py",  # torchcfm uses the global generator
    }
    assert {e for e in elsewhere if not e.startswith("training/")} <= allowed
