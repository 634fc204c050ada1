"""A U-Net for images, conditioned on time and optionally on a class.

It follows the published architecture of guided-diffusion and has its parameter names, so that
weights released for that family can be loaded.

References:
    Dhariwal and Nichol 2021, Diffusion models beat GANs, https://arxiv.org/abs/2105.05233
    Ho et al. 2020, Denoising diffusion probabilistic models, https://arxiv.org/abs/2006.11239
"""

import math
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from flowviz.bounds import is_whole
from flowviz.networks.blocks import Attention, Downsample, ResBlock, Stage, Upsample
from flowviz.networks.second_time import SecondTime, octave_rates
from flowviz.registry import Registry

M = TypeVar("M", bound=nn.Module)

WHOLE = {
    "model_channels": (1, 4096),
    "num_res_blocks": (1, 32),
    "num_heads": (1, 4096),
    "num_head_channels": (0, 4096),
    "groups": (1, 4096),
    "patch": (1, 64),
    "clocks": (0, 16),
    "frequency_shift": (0, 1),
}
REAL = {"dropout": (0.0, 1.0), "eps": (1e-12, 1.0)}
SERIES = {"channel_mult": (1, 10), "attention_resolutions": (0, 32)}
"""Minimum and maximum of each number of a `UNetShape`, and of the length of each series. A shape
may come from an untrusted file: what cannot be built in reasonable time is refused here."""


@dataclass(frozen=True, kw_only=True)
class UNetShape:
    """The numbers that fix a U-Net, but for its images and classes.

    Attributes:
        model_channels: channels of the first level.
        num_res_blocks: residual blocks of a level on the way down (one more on the way up).
        channel_mult: channels of each level, in units of `model_channels`; resolution halves
            from level to level.
        attention_resolutions: heights of the feature maps whose blocks attend.
        num_heads: heads of an attention, unless `num_head_channels` is given.
        num_head_channels: channels of a head; 0 leaves it to `num_heads`.
        use_scale_shift_norm: whether time scales and shifts a block's features or only shifts.
        dropout: share of a block's features dropped in training.
        conv_resample: whether resampling has weights: a strided convolution down and one after
            the nearest-neighbour step up; otherwise pooling and the bare step.
        groups: groups of the group norms.
        patch: 2 folds each 2 x 2 pixels into channels first, so that the network works at half
            the resolution; 1 leaves the image.
        clocks: how time enters: 0 for t itself in the sinusoid of Ho et al. with periods up to
            10,000, otherwise so many clocks in [-1, 1] with six octaves each.
        heads_first: whether queries, keys and values lie head by head (the family's older order)
            or all queries come first.
        resblock_updown: whether residual blocks change the resolution, in the place of the plain
            layers of `conv_resample`.
        pad_after: whether the strided convolution pads to the right and below alone, as DDPM's
            first code does, or on all sides.
        frequency_shift: 1 spreads the frequencies of the sinusoid over both ends of their range,
            as DDPM's first code does; 0 leaves the last one out.
        eps: what the group norms add to the variance.

    Raises:
        ValueError: an entry is of another type or out of its range, or numbers do not go together.
            What depends on the images too is refused by `UNet`.
    """

    model_channels: int
    num_res_blocks: int
    channel_mult: tuple[int, ...]
    attention_resolutions: tuple[int, ...]
    num_heads: int = 1
    num_head_channels: int = 0
    use_scale_shift_norm: bool = False
    dropout: float = 0.0
    conv_resample: bool = True
    groups: int = 32
    patch: int = 1
    clocks: int = 0
    heads_first: bool = True
    resblock_updown: bool = False
    pad_after: bool = False
    frequency_shift: int = 0
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in WHOLE:
                low, high = WHOLE[entry.name]
                valid, requirement = is_whole(value, low, high), f"a whole number in {low}..{high}"
            elif entry.name in REAL:
                low, high = REAL[entry.name]
                valid = type(value) in (int, float) and low <= value <= high
                requirement = f"a number in [{low:g}, {high:g}]"
            elif entry.name in SERIES:
                low, high = SERIES[entry.name]
                valid = isinstance(value, tuple) and low <= len(value) <= high
                valid = valid and all(is_whole(number, 1, 4096) for number in value)
                requirement = f"{low} to {high} whole numbers in 1..4096"
            else:
                valid, requirement = isinstance(value, bool), "true or false"
            if not valid:
                raise ValueError(f"{entry.name} must be {requirement}; got {repr(value)[:60]}.")
        for factor in self.channel_mult:
            if self.model_channels * factor % self.groups:
                raise ValueError(
                    f"groups must divide the {self.model_channels * factor} channels of each "
                    f"level; got {self.groups}."
                )
        if not self.clocks and (self.model_channels % 2 or self.model_channels < 4):
            raise ValueError(
                "model_channels must be even and 4 or more where clocks is 0, for the sinusoid of "
                f"t; got {self.model_channels}."
            )

    def build(
        self,
        *,
        channels: int,
        size: int,
        num_classes: int,
        two_times: bool = False,
        generator: Generator | None = None,
    ) -> "UNet":
        """A new network of this shape; for the arguments see `UNet`."""
        sizes = {"channels": channels, "size": size, "num_classes": num_classes}
        return UNet(self, **sizes, two_times=two_times, generator=generator)


IMAGE_NETWORKS: Registry[UNetShape] = Registry("network")
"""Shapes of networks for images by name; each has `clocks` and `build`."""

IMAGE_NETWORKS["small"] = UNetShape(
    # 2.68 M parameters, 71 MMAC a pass. Chosen among shapes on 16 x 16 folded pixels by the images
    # that one core of an EPYC (Zen 4), beside other work, trains and draws a second (fp32, batch
    # 64, channels-last, medians of processor time):
    #   32 channels x 1,2,2, attention at 4       1.20 M    191 and 501
    #   32 x 1,2,4, attention at 8 and 4          2.68 M    149 and 384   <- this one
    #   the same with learned resampling          2.91 M    128 and 339
    #   48 x 1,2,2, attention at 8 and 4          2.52 M    100 and 273
    #   40 x 1,2,4, attention at 8 and 4          4.18 M     95 and 257
    #   64 x 1,2,2, attention at 8 and 4          4.47 M     62 and 193
    # So 3 million images take 5.6 hours of such a core alone, and 16 guided images at NFE 20 1.7 s
    # of one. Of the first: without channels-last 190 in place of 209 (drawing 299 in place of
    # 623), with torch.compile 170 after minutes of compiling; bfloat16 gains nothing below 64
    # channels. Measured by `taskset -c 1 python tests/benchmarks/image_throughput.py`.
    model_channels=32,
    num_res_blocks=1,
    channel_mult=(1, 2, 4),
    attention_resolutions=(8, 4),
    num_heads=4,
    use_scale_shift_norm=True,
    conv_resample=False,
    groups=8,
    patch=2,
    clocks=2,
)
IMAGE_NETWORKS["tiny"] = UNetShape(  # for digits, tests and a first try
    model_channels=16,
    num_res_blocks=1,
    channel_mult=(1, 2),
    attention_resolutions=(4,),
    use_scale_shift_norm=True,
    groups=4,
    clocks=2,
)
IMAGE_NETWORKS["torchcfm"] = UNetShape(  # torchcfm's CIFAR-10 example: 35,746,307 parameters
    model_channels=128,
    num_res_blocks=2,
    channel_mult=(1, 2, 2, 2),
    attention_resolutions=(16,),
    num_head_channels=64,
    dropout=0.1,
)
IMAGE_NETWORKS["paper"] = UNetShape(  # Lipman et al. 2022, table 3, CIFAR-10
    model_channels=256,
    num_res_blocks=2,
    channel_mult=(1, 2, 2, 2),
    attention_resolutions=(16,),
    num_head_channels=64,
)


class UNet(nn.Module):
    """A network (time, x, y) -> x's shape for square images.

    Args:
        shape: the numbers of the architecture.
        channels: C of the images.
        size: height and width of the images.
        num_classes: K classes, and the null class K for guidance; 0 for no classes.
        two_times: whether a second clock can be given, see `SecondTime`; needs clocks.
        generator: draws the weights; PyTorch's global one by default.
    """

    rates: Tensor

    def __init__(
        self,
        shape: UNetShape,
        *,
        channels: int = 3,
        size: int = 32,
        num_classes: int = 0,
        two_times: bool = False,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        smallest = shape.patch * 2 ** (len(shape.channel_mult) - 1)
        if size < 1 or size % smallest:
            raise ValueError(
                f"Images of this U-Net must have a side divisible by {smallest}; got {size}."
            )
        self.shape = shape
        self.num_classes = num_classes
        self._add_embedding()
        self._add_blocks(channels * shape.patch**2, size // shape.patch)
        self._draw(generator)
        if two_times:  # last, so that the other weights are those of a network without it
            if not shape.clocks:
                raise ValueError("A U-Net with two times needs clocks; this one takes t itself.")
            width = 4 * shape.model_channels
            self.second = SecondTime(shape.clocks, width, hidden=width, generator=generator)

    def _add_embedding(self) -> None:
        """Adds the layers that embed time and class."""
        shape, width = self.shape, self.shape.model_channels
        if shape.clocks:
            rates = octave_rates(6)
            features = 2 * len(rates) * shape.clocks
        else:
            # In float32 as in guided-diffusion: times of hundreds magnify rounding of a rate.
            powers = -math.log(10_000) * torch.arange(width // 2, dtype=torch.float32)
            rates = torch.exp(powers / (width // 2 - shape.frequency_shift))
            features = width
        self.register_buffer("rates", rates, persistent=False)
        embedding = 4 * width
        self.time_embed = nn.Sequential(
            nn.Linear(features, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        if self.num_classes:
            self.label_emb = nn.Embedding(self.num_classes + 1, embedding)

    def _add_blocks(self, folded: int, side: int) -> None:
        """Adds the layers from `folded` channels of side x side pixels to as many."""
        shape, width = self.shape, self.shape.model_channels

        def block(inputs: int, outputs: int, resample: nn.Module | None = None) -> ResBlock:
            return ResBlock(inputs, outputs, 4 * width, shape, resample)

        def down(channels: int) -> nn.Module:
            if shape.resblock_updown:
                return block(channels, channels, Downsample(channels, False))
            return Downsample(channels, shape.conv_resample, shape.pad_after)

        def up(channels: int) -> nn.Module:
            if shape.resblock_updown:
                return block(channels, channels, Upsample(channels, False))
            return Upsample(channels, shape.conv_resample)

        current = width * shape.channel_mult[0]
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(folded, current, 3, padding=1))])
        skips = [current]
        for level, factor in enumerate(shape.channel_mult):
            for _ in range(shape.num_res_blocks):
                stage: list[nn.Module] = [block(current, width * factor)]
                current = width * factor
                if side in shape.attention_resolutions:
                    stage.append(Attention(current, shape))
                self.input_blocks.append(Stage(*stage))
                skips.append(current)
            if level < len(shape.channel_mult) - 1:
                self.input_blocks.append(Stage(down(current)))
                skips.append(current)
                side //= 2
        self.middle_block = Stage(
            block(current, current), Attention(current, shape), block(current, current)
        )
        self.output_blocks = nn.ModuleList()
        for level, factor in reversed(list(enumerate(shape.channel_mult))):
            for i in range(shape.num_res_blocks + 1):
                stage: list[nn.Module] = [block(current + skips.pop(), width * factor)]
                current = width * factor
                if side in shape.attention_resolutions:
                    stage.append(Attention(current, shape))
                if level and i == shape.num_res_blocks:
                    stage.append(up(current))
                    side *= 2
                self.output_blocks.append(Stage(*stage))
        self.out = nn.Sequential(
            nn.GroupNorm(shape.groups, current, shape.eps),
            nn.SiLU(),
            nn.Conv2d(current, folded, 3, padding=1),
        )

    def forward(
        self,
        time: Tensor,
        x: Tensor,
        y: Tensor | None = None,
        *,
        second_clock: Tensor | None = None,
    ) -> Tensor:
        """Maps time, x (B, C, H, W) and classes y (B,) to (B, C, H, W).

        Args:
            time: t of shape () or (B,); for a network of K clocks, (K,) or (B, K).
            x: images.
            y: classes as integers, `num_classes` for the null class; None is the null class for
                all.
            second_clock: the second clock of a network with two times, of the shape of `time`.
        """
        if y is not None and not self.num_classes:
            raise ValueError("This network has no classes; omit y.")
        angles = time.to(self.rates)[..., None] * self.rates
        if self.shape.clocks:
            angles = angles.flatten(-2)
        e = self.time_embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1))
        if second_clock is not None:
            e = e + self.second(time.to(self.rates), second_clock.to(self.rates))
        e = e.expand(len(x), -1)
        if self.num_classes:
            e = e + (self.label_emb.weight[-1] if y is None else self.label_emb(y))
        h = functional.pixel_unshuffle(x, self.shape.patch)
        skips = []
        for stage in self.input_blocks:
            h = stage(h, e)
            skips.append(h)
        h = self.middle_block(h, e)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), e)
        return functional.pixel_shuffle(self.out(h), self.shape.patch)

    def _draw(self, generator: Generator | None) -> None:
        """Draws PyTorch's initial distributions from `generator`; last layers are zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                assert module.bias is not None
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)
        for module in self.modules():
            if isinstance(module, ResBlock):
                last = module.out_layers[-1]
            elif isinstance(module, Attention):
                last = module.proj_out
            elif module is self:
                last = self.out[-1]
            else:
                continue
            assert isinstance(last, nn.Conv1d | nn.Conv2d)
            assert last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


def channels_last(module: M) -> M:
    """The module, its weights moved in place to the memory format in which images are faster."""
    # The overloads of `to` leave out this argument, which PyTorch documents.
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
