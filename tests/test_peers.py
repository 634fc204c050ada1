"""Networks of other projects: files of their own classes give the same outputs here.

The projects are optional: `pip install .[peers]`. The image network of facebookresearch's
flow_matching is not in its package but in its repository, which FLOW_MATCHING names.
"""

import argparse
import os
import sys
from pathlib import Path

import pytest
import torch

from flowviz.checkpoints.foreign import load_foreign

HERE = os.environ.get("FLOW_MATCHING", "")


def randomized(network, seed=0):
    """The network in evaluation mode, with random weights in every layer as after training."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            spread = 0.7 / parameter[0].numel() ** 0.5
            torch.nn.init.normal_(parameter, 0.0, spread, generator=generator)
        else:
            middle = 1.0 if name.endswith("weight") else 0.0
            torch.nn.init.normal_(parameter, middle, 0.1, generator=generator)
    return network.eval()


def points(size=32, channels=3, n=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, channels, size, size, generator=generator, dtype=dtype)


def assert_same(own, peer):
    """Equal to 1e-5 in float32, for outputs of unit size."""
    assert peer.std() > 0.05
    torch.testing.assert_close(own, peer, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrapping", ["", "module."])
@pytest.mark.parametrize("wide", [False, True])
def test_torchcfm_network_equals_its_own_class(tmp_path, wrapping, wide):
    unet = pytest.importorskip("torchcfm.models.unet.unet", reason="pip install .[peers]")
    heads = {"num_head_channels": 64} if wide else {"num_heads": 1}  # not stated in the file
    peer = unet.UNetModelWrapper(
        dim=(3, 32, 32),
        num_res_blocks=1,
        num_channels=64 if wide else 32,
        channel_mult=[1, 2],
        attention_resolutions="16",
        **heads,
    )
    randomized(peer)
    average = {wrapping + key: value for key, value in peer.state_dict().items()}
    other = {key: torch.zeros_like(value) for key, value in average.items()}
    file = tmp_path / "otcfm_cifar10_weights_step_400000.pt"
    torch.save({"net_model": other, "ema_model": average, "optim": {}, "step": 4}, file)
    loaded = load_foreign(file)
    assert loaded.origin == "torchcfm" and "ema_model" in loaded.notes
    x, field = points(), loaded.checkpoint.field
    with torch.no_grad():
        for t in (torch.tensor(0.37), torch.tensor([0.0, 0.9])):
            assert_same(field(t, x), peer(t, x))


@pytest.mark.slow
def test_torchcfm_recipe_is_that_of_the_released_files(tmp_path):
    unet = pytest.importorskip("torchcfm.models.unet.unet", reason="pip install .[peers]")
    peer = randomized(
        unet.UNetModelWrapper(
            dim=(3, 32, 32),
            num_res_blocks=2,
            num_channels=128,
            channel_mult=[1, 2, 2, 2],
            num_heads=4,
            num_head_channels=64,
            attention_resolutions="16",
            dropout=0.1,
        )
    )
    torch.save({"ema_model": peer.state_dict()}, tmp_path / "w.pt")
    field = load_foreign(tmp_path / "w.pt").checkpoint.field
    x, t = points(n=1), torch.tensor(0.37)
    with torch.no_grad():
        assert_same(field(t, x), peer(t, x))


@pytest.fixture
def flow_matching():
    """The image models of a clone of facebookresearch/flow_matching."""
    folder = Path(HERE) / "examples" / "image"
    if not HERE or not folder.is_dir():
        pytest.skip("set FLOW_MATCHING to a clone of facebookresearch/flow_matching")
    sys.path.insert(0, str(folder))
    try:
        from models.ema import EMA
        from models.unet import UNetModel
    finally:
        sys.path.remove(str(folder))
    return EMA, UNetModel


FLOW_MATCHING = {
    "cifar10": {
        "model_channels": 32,
        "num_res_blocks": 2,
        "attention_resolutions": [2],
        "channel_mult": [2, 2],
        "conv_resample": False,
        "use_scale_shift_norm": True,
        "use_new_attention_order": True,
    },
    "imagenet": {
        "model_channels": 64,
        "num_res_blocks": 1,
        "attention_resolutions": [2],
        "channel_mult": [1, 2],
        "num_classes": 5,
        "num_heads": 4,
        "num_head_channels": 64,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        "use_new_attention_order": True,
    },
}


@pytest.mark.parametrize("name", FLOW_MATCHING)
@pytest.mark.parametrize("averaged", [True, False])
def test_flow_matching_network_equals_its_own_class(tmp_path, flow_matching, name, averaged):
    EMA, UNetModel = flow_matching
    peer = randomized(UNetModel(in_channels=3, out_channels=3, **FLOW_MATCHING[name]))
    saved = peer
    if averaged:
        saved = EMA(peer)  # copies the weights; the model then changes
        reference = UNetModel(in_channels=3, out_channels=3, **FLOW_MATCHING[name]).eval()
        reference.load_state_dict(peer.state_dict())
        randomized(peer, seed=5)
        peer = reference
    args = argparse.Namespace(dataset=name, use_ema=averaged, output_dir="./output_dir")
    file = tmp_path / "checkpoint.pth"
    torch.save({"model": saved.state_dict(), "epoch": 3, "args": args}, file)
    loaded = load_foreign(file)
    assert loaded.origin == "flow_matching"
    x, field = points(), loaded.checkpoint.field
    with torch.no_grad():
        for t in (torch.tensor([0.37, 0.37]), torch.tensor([0.0, 0.9])):
            assert_same(field(t, x), peer(x, t, {}))
            if name == "imagenet":
                y = torch.tensor([2, 4])
                assert_same(field(t, x, y), peer(x, t, {"label": y}))


DDPM = {
    "ddpm-cifar10-32": {
        "attention_head_dim": None,
        "block_out_channels": (32, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "layers_per_block": 1,
        "norm_eps": 1e-6,
    },
    "defaults": {
        "block_out_channels": (32, 64, 64),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "scaled": {
        "block_out_channels": (32, 32),
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 32,
        "layers_per_block": 1,
    },
}


@pytest.mark.parametrize("name", DDPM)
def test_diffusers_network_equals_its_own_class(tmp_path, name):
    diffusers = pytest.importorskip("diffusers", reason="pip install .[peers]")
    peer = randomized(diffusers.UNet2DModel(sample_size=32, **DDPM[name]))
    peer.save_pretrained(tmp_path / "unet")
    chosen = diffusers.DDPMScheduler(num_train_timesteps=1000)
    chosen.save_pretrained(tmp_path / "scheduler")
    loaded = load_foreign(tmp_path)
    field = loaded.checkpoint.field
    assert loaded.origin == "diffusers" and loaded.checkpoint.card.path == "vp"
    levels = field.network
    torch.testing.assert_close(
        torch.exp(-levels.exponents).float(), chosen.alphas_cumprod, rtol=1e-5, atol=1e-7
    )
    x = points()
    with torch.no_grad():
        for n in (0, 17, 500, 999):
            assert_same(levels.network(torch.tensor(float(n)), x), peer(x, n).sample)
        # At the time of a level the velocity is the conversion of its noise.
        t = time_of(levels, 400)
        noise = peer(x, 400).sample
        expected = field.path.velocity_from_noise(t, x, noise)
        torch.testing.assert_close(field(t, x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_diffusers_schedules_are_its_own(tmp_path, schedule):
    diffusers = pytest.importorskip("diffusers", reason="pip install .[peers]")
    peer = diffusers.UNet2DModel(sample_size=32, **DDPM["ddpm-cifar10-32"])
    peer.save_pretrained(tmp_path)
    chosen = diffusers.DDIMScheduler(num_train_timesteps=200, beta_schedule=schedule)
    chosen.save_pretrained(tmp_path)
    levels = load_foreign(tmp_path).checkpoint.field.network
    torch.testing.assert_close(
        torch.exp(-levels.exponents).float(), chosen.alphas_cumprod, rtol=1e-3, atol=1e-7
    )
    # Each level has exactly one time between noise and data.
    t = torch.linspace(0, levels.scheduler.t_max, 50, dtype=torch.float64)
    n = levels.number(t)
    assert n[0] >= 198 and n[-1] == 0 and (n.diff() <= 0).all()


def time_of(levels, n):
    """The time at which the path has the noise of level n, by bisection."""
    low, high = 0.0, levels.scheduler.t_max
    for _ in range(80):
        middle = (low + high) / 2
        later = levels.number(torch.tensor(middle, dtype=torch.float64)) > n
        low, high = (middle, high) if later else (low, middle)
    return torch.tensor(low, dtype=torch.float64)
