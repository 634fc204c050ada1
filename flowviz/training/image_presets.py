"""Complete configs of trainings on images, by name."""

from flowviz.registry import Registry
from flowviz.training.images import ImageTrainConfig

IMAGE_PRESETS: Registry[ImageTrainConfig] = Registry("preset")
"""Complete configs by name: `small` is that of the shipped fields, `tiny` a first try on digits,
`flow-map` the shipped flow map `cifar10-ot-distillation`, which begins as the field `cifar10-ot`.

`torchcfm` and `paper` have all hyperparameters as published (torchcfm's CIFAR-10 script; Lipman
et al. 2022, table 3 and appendix E); the dropout is part of the network of the same name. They
have NOT been run to the end here, so their quality is unknown. They differ from the originals in
that times are stratified over a batch and end at the path's t_max, the learning rate rises one
step ahead of torchcfm's, and the moving average forgets its first steps faster. The paper mentions
no moving average, flips or clipping, so its preset has none.

Noise and images are paired independently, so `torchcfm` is that script's `--model icfm`, one of
those with released weights, and not its default, `otcfm`, which pairs a batch by optimal
transport: `--coupling minibatch-ot`.
"""
IMAGE_PRESETS["small"] = ImageTrainConfig()
IMAGE_PRESETS["tiny"] = ImageTrainConfig(
    data="digits", network="tiny", images=200_000, batch=32, warm_up=100, ema=0.999, flips=False
)
IMAGE_PRESETS["flow-map"] = ImageTrainConfig(
    objective="distillation",
    start="cifar10-ot",
    times="uniform",
    images=2703 * 2048,
    batch=2048,
    lr=2e-3,
    warm_up=200,
    ema=0.999,
)
_PUBLISHED = {
    "classes": False,
    "preconditioned": False,
    "times": "uniform",
    "mixed": False,
    "weight_decay": 0.0,
    "drop_class": 0.0,
}
IMAGE_PRESETS["torchcfm"] = ImageTrainConfig(
    **_PUBLISHED,
    network="torchcfm",
    images=400_001 * 128,
    batch=128,
    lr=2e-4,
    warm_up=5000,
    decay="constant",
    clip=1.0,
    ema=0.9999,
    flips=True,
)
IMAGE_PRESETS["paper"] = ImageTrainConfig(
    **_PUBLISHED,
    network="paper",
    images=391_000 * 256,
    batch=256,
    lr=5e-4,
    warm_up=45_000,
    clip=0.0,
    ema=0.0,
    flips=False,
)
