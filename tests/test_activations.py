"""The estimate of a U-Net's memory against the storages that exist during an evaluation."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.images import load_images, save_images
from flowviz.experiments import images
from flowviz.experiments.images import ClassField, ImageConfig, sample_all
from flowviz.networks import IMAGE_NETWORKS, UNet, UNetShape, memory
from flowviz.networks.memory import activation_bytes
from flowviz.progress import Stopped, stopping

SHAPES = {
    "torchcfm": (IMAGE_NETWORKS["torchcfm"], 32),
    "small": (IMAGE_NETWORKS["small"], 32),
    "without attention but in the middle": (
        UNetShape(
            model_channels=32,
            num_res_blocks=1,
            channel_mult=(1, 1, 1, 1),
            attention_resolutions=(),
        ),
        128,
    ),
    "blocks that resample": (
        UNetShape(
            model_channels=32,
            num_res_blocks=2,
            channel_mult=(1, 2, 2),
            attention_resolutions=(16,),
            resblock_updown=True,
            use_scale_shift_norm=True,
        ),
        64,
    ),
}  # fmt: skip


class Peak(TorchDispatchMode):
    """The maximum total bytes of storages that exist at the same time, without those given."""

    def __init__(self, tensors):
        super().__init__()
        self.kept = [tensor.untyped_storage() for tensor in tensors]
        self.known = {storage._cdata for storage in self.kept}
        self.live = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    self.known.add(storage._cdata)
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self.free, storage._cdata, storage.nbytes())
        return result

    def free(self, key, size):
        self.known.discard(key)
        self.live -= size


@pytest.mark.parametrize("name", SHAPES)
def test_estimate_is_a_tight_upper_bound(name):
    shape, size = SHAPES[name]
    network = UNet(shape, size=size).eval()
    x, t = (
        torch.randn(1, 3, size, size),
        torch.rand(shape.clocks) if shape.clocks else torch.tensor(0.3),
    )
    with torch.no_grad(), Peak([*network.parameters(), *network.buffers(), x]) as found:
        network(t, x)
    assert found.peak <= activation_bytes(shape, 3, size) <= 1.5 * found.peak


def test_large_batch_is_split_and_gives_the_same_images(tiny_images, monkeypatch):
    checkpoint = load_images(tiny_images / "images" / "tiny-ot.safetensors")
    config = ImageConfig(n=7, nfe=4, classes=(1, 2), guidance=2.0)
    reference = sample_all(checkpoint, config)
    shape = checkpoint.field.network.shape
    one = activation_bytes(shape, *checkpoint.shape[:2])
    monkeypatch.setattr(memory, "MAX_ACTIVATION_BYTES", 3 * one)
    field = ClassField(checkpoint, None)
    (network,) = field.networks
    assert network.batch == 3
    largest = []
    network.network.register_forward_pre_hook(lambda _, args: largest.append(len(args[1])))
    parts = sample_all(checkpoint, config)
    assert max(largest) == 3
    assert parts.passes == reference.passes and parts.nfe == reference.nfe
    assert abs(parts.images.astype(int) - reference.images.astype(int)).max() <= 1
    times = torch.linspace(0.1, 0.9, 7)
    x = torch.randn(7, *checkpoint.shape)
    with torch.no_grad():
        torch.testing.assert_close(
            field.field(times, x), checkpoint.field(times, x), rtol=1e-4, atol=1e-4
        )


def test_a_long_evaluation_stops_on_request(tiny_images, monkeypatch):
    checkpoint = load_images(tiny_images / "images" / "tiny-ot.safetensors")
    config, calls = ImageConfig(n=2, nfe=2), []

    def drawn(stop_at):
        calls.clear()
        stop = lambda: calls.append(1) or stop_at < len(calls)  # noqa: E731
        with stopping(stop):
            return sample_all(checkpoint, config)

    reference = drawn(10**9)
    assert len(calls) == 2, "before each evaluation"
    monkeypatch.setattr(images, "LONG_EVALUATION_BYTES", 0)
    assert (drawn(10**9).images == reference.images).all() and len(calls) > 100
    with pytest.raises(Stopped):
        drawn(9)
    assert len(calls) == 10


def test_network_that_exceeds_the_memory_for_one_image_is_refused(tmp_path, tiny_images):
    """A card of 1024 x 1024 with 32 channels, whose batch of 16 took 12 GB."""
    loaded = load_images(tiny_images / "images" / "tiny-ot.safetensors")
    card = loaded.card
    large = replace(card, size=1024, network=card.network | {"channel_mult": [1, 2]})
    file = save_images(tmp_path / "large", loaded.field.network, large)
    with pytest.raises(CheckpointError, match=r"1024 x 1024 takes .* GB.*more than 2 GB"):
        load_images(file)
