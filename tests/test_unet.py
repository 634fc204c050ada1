import dataclasses

import pytest
import torch

from flowviz.networks import IMAGE_NETWORKS, UNet, UNetShape

TINY = IMAGE_NETWORKS["tiny"]


def build(shape, **options):
    with torch.device("meta"):
        return UNet(shape, **options)


def randomized(network, seed=0):
    """The network with random last layers, which start at zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return network


def test_torchcfm_preset_has_the_names_and_shapes_of_the_released_weights():
    # torchcfm's own CIFAR-10 model has 304 tensors, 35,746,307 parameters and no buffers.
    weights = build(IMAGE_NETWORKS["torchcfm"]).state_dict()
    assert sum(value.numel() for value in weights.values()) == 35_746_307
    assert len(weights) == 304
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert shapes["time_embed.0.weight"] == (512, 128)
    assert shapes["input_blocks.0.0.weight"] == (128, 3, 3, 3)
    assert shapes["input_blocks.1.0.emb_layers.1.weight"] == (128, 512)
    assert shapes["input_blocks.4.1.qkv.weight"] == (768, 256, 1)
    assert shapes["out.2.weight"] == (3, 128, 3, 3)
    assert next(iter(shapes)) == "time_embed.0.weight"
    assert {name.split(".qkv")[0] for name in shapes if "qkv" in name} == {
        *("input_blocks.4.1", "input_blocks.5.1", "middle_block.1"),
        *("output_blocks.6.1", "output_blocks.7.1", "output_blocks.8.1"),
    }
    downs = [f"input_blocks.{i}.0.op.weight" for i in (3, 6, 9)]
    assert [name for name in shapes if ".op.weight" in name] == downs
    assert len({name.split(".")[1] for name in shapes if name.startswith("output_blocks")}) == 12


def test_class_covers_the_film_variant_of_the_family():
    # facebookresearch/flow_matching's CIFAR-10 configuration has 55,676,419 parameters.
    shape = UNetShape(
        model_channels=128,
        num_res_blocks=4,
        channel_mult=(2, 2, 2),
        attention_resolutions=(16,),
        use_scale_shift_norm=True,
        conv_resample=False,
        heads_first=False,
    )
    network = build(shape)
    assert sum(p.numel() for p in network.parameters()) == 55_676_419
    assert network.input_blocks[1][0].emb_layers[1].weight.shape == (512, 512)
    assert len(network.input_blocks) == len(network.output_blocks) == 15


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_output_has_the_shape_of_the_images(name):
    shape = IMAGE_NETWORKS[name]
    time = torch.zeros(2, shape.clocks or 1, device="meta")
    network = build(shape, num_classes=10)
    x = torch.zeros(2, 3, 32, 32, device="meta")
    y = torch.zeros(2, dtype=torch.int64, device="meta")
    assert network(time if shape.clocks else time[:, 0], x, y).shape == x.shape


def test_new_network_is_zero_and_its_weights_depend_on_the_generator():
    networks = [UNet(TINY, generator=torch.Generator().manual_seed(i)) for i in (1, 1, 2)]
    weights = [dict(network.named_parameters()) for network in networks]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=0)
    assert not torch.equal(weights[0]["time_embed.0.weight"], weights[2]["time_embed.0.weight"])
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not networks[0](torch.zeros(2), x).any()


def test_one_time_for_all_equals_equal_times():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 3, 16, 16, generator=generator, dtype=torch.float64)
    network = randomized(UNet(TINY, size=16, num_classes=3)).double()
    clock, y = torch.tensor([0.2, -0.4], dtype=torch.float64), torch.tensor([0, 1, 2])
    together = network(clock, x, y)
    for i in range(3):
        alone = network(clock[None], x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone)
    assert (network(clock + 0.1, x, y) - together).abs().max() > 1e-6


def test_time_embedding_uses_the_unscaled_time():
    # Ho et al. 2020: cos and sin of t 10000^(-k / half), cosines first.
    network = UNet(dataclasses.replace(TINY, clocks=0))
    seen = []
    network.time_embed.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    network(torch.tensor(0.3), torch.zeros(1, 3, 32, 32))
    rates = torch.tensor([10_000 ** (-k / 8) for k in range(8)])
    torch.testing.assert_close(
        seen[0], torch.cat([torch.cos(0.3 * rates), torch.sin(0.3 * rates)])
    )


def test_no_class_is_the_null_class():
    network = randomized(UNet(TINY, num_classes=3))
    x, clock = torch.randn(2, 3, 32, 32), torch.zeros(2)
    torch.testing.assert_close(network(clock, x), network(clock, x, torch.tensor([3, 3])))
    assert not torch.allclose(network(clock, x), network(clock, x, torch.tensor([0, 1])))
    with pytest.raises(ValueError, match="has no classes"):
        UNet(TINY)(clock, x, torch.tensor([0, 1]))


@pytest.mark.parametrize("heads_first", [True, False])
def test_attention_is_softmax_of_scaled_products(heads_first):
    shape = dataclasses.replace(TINY, num_heads=2, heads_first=heads_first)
    attention = randomized(UNet(shape).middle_block[1]).double()
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64)
    tokens = attention.norm(x).flatten(2)
    qkv = attention.qkv(tokens)  # (B, 96, L)
    heads = []
    for head in range(2):
        if heads_first:
            q, k, v = qkv[:, 48 * head : 48 * (head + 1)].split(16, dim=1)
        else:
            q, k, v = (part[:, 16 * head : 16 * (head + 1)] for part in qkv.split(32, dim=1))
        weight = torch.softmax(torch.einsum("bcl,bcm->blm", q, k) / 4, dim=-1)
        heads.append(torch.einsum("blm,bcm->bcl", weight, v))
    expected = x + attention.proj_out(torch.cat(heads, dim=1)).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected)


def test_memory_format_does_not_change_the_output():
    network = randomized(UNet(IMAGE_NETWORKS["small"], num_classes=10)).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    clock, y = torch.rand(2, 2, dtype=torch.float64), torch.tensor([1, 2])
    before = network(clock, x, y)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(clock, x.to(memory_format=torch.channels_last), y), before)


def test_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="divisible by 8; got 28"):
        UNet(IMAGE_NETWORKS["small"], size=28)
