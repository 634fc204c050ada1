"""The blocks of a U-Net, see `flowviz.networks.unet`."""

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from flowviz.networks.unet import UNetShape


class Stage(nn.ModuleList):
    """Layers in sequence; residual blocks also take the embedding."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(layers)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """Maps h (B, C, H, W) and the embedding e (B, E)."""
        for layer in self:
            h = layer(h, e) if isinstance(layer, ResBlock) else layer(h)
        return h


class ResBlock(nn.Module):
    """Two convolutions with a shortcut, conditioned on the embedding of time and class."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        shape: "UNetShape",
        resample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.scaled = shape.use_scale_shift_norm
        self.resample = resample  # without weights
        self.in_layers = nn.Sequential(
            nn.GroupNorm(shape.groups, inputs, shape.eps),
            nn.SiLU(),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * outputs if self.scaled else outputs)
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(shape.groups, outputs, shape.eps),
            nn.SiLU(),
            nn.Dropout(shape.dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip_connection = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        )

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Maps x (B, C, H, W) and the embedding e (B, E)."""
        if self.resample is None:
            h = self.in_layers(x)
        else:
            h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
            x = self.resample(x)
        e = self.emb_layers(e)[:, :, None, None]
        norm, layers = self.out_layers[0], self.out_layers[1:]
        if self.scaled:
            scale, shift = e.chunk(2, dim=1)
            h = layers(norm(h) * (1 + scale) + shift)
        else:
            h = layers(norm(h + e))
        return self.skip_connection(x) + h


class Attention(nn.Module):
    """Self-attention of all pixels, with a shortcut."""

    def __init__(self, channels: int, shape: "UNetShape") -> None:
        super().__init__()
        entry = "num_head_channels" if shape.num_head_channels else "num_heads"
        divisor = getattr(shape, entry)
        if channels % divisor:
            raise ValueError(
                f"{entry} must divide the {channels} channels of an attention; got {divisor}."
            )
        self.heads = channels // divisor if shape.num_head_channels else divisor
        self.heads_first = shape.heads_first
        self.norm = nn.GroupNorm(shape.groups, channels, shape.eps)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, L, C), free in channels-last
        # Convolutions of size 1, as guided-diffusion names and shapes these weights.
        h = functional.linear(tokens, self.qkv.weight[:, :, 0], self.qkv.bias)
        order = (self.heads, 3, -1) if self.heads_first else (3, self.heads, -1)
        h = h.unflatten(-1, order)  # (B, L, ...)
        q, k, v = h.movedim(3 if self.heads_first else 2, 0).transpose(2, 3)  # (B, heads, L, D)
        h = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = functional.linear(h, self.proj_out.weight[:, :, 0], self.proj_out.bias)
        return x + h.transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """Halves the resolution."""

    def __init__(self, channels: int, learned: bool, pad_after: bool = False) -> None:
        super().__init__()
        self.pad = (0, 1, 0, 1) if learned and pad_after else None
        self.op = (
            nn.Conv2d(channels, channels, 3, stride=2, padding=0 if pad_after else 1)
            if learned
            else nn.AvgPool2d(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, C, H, W)."""
        return self.op(x if self.pad is None else functional.pad(x, self.pad))


class Upsample(nn.Module):
    """Doubles the resolution."""

    def __init__(self, channels: int, learned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, C, H, W)."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
