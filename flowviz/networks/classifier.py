"""A small convolutional classifier of images, whose penultimate layer gives their features.

Its stages halve the resolution and have identity shortcuts (He et al. 2016,
https://arxiv.org/abs/1512.03385). It is narrow: one core processes a thousand images in a few
seconds.
"""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A network from images to the logits of their classes.

    Args:
        channels: C of the images.
        num_classes: K.
        stem: channels of the first layer, at full resolution.
        widths: channels of the stages, at a half, a quarter and an eighth of the resolution; the
            last one is the number of features.
        generator: draws the weights; PyTorch's global one by default.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        num_classes: int = 10,
        stem: int = 24,
        widths: tuple[int, ...] = (64, 128, 192),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(channels, stem)]
        inputs = stem
        for width in widths:
            layers.append(_Stage(inputs, width))
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=inputs**-0.5, generator=generator)

    def features(self, x: Tensor) -> Tensor:
        """The features of images x (B, C, H, W) in [-1, 1], shape (B, F)."""
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The logits of images x (B, C, H, W) in [-1, 1], shape (B, K)."""
        return self.head(self.features(x))


class _Stage(nn.Module):
    """A convolution that halves the resolution, then one with a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True)
        self.stay = _convolution(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.pool(self.enter(x))))
        return h + self.stay(h)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
