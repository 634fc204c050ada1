"""Checkpoints of images: the field of a U-Net, or a classifier, with a card in one file."""

from flowviz.checkpoints.images.cards import (
    ImageCard,
    describe_classifier,
    describe_field,
    unet_shape,
)
from flowviz.checkpoints.images.fields import ImageCheckpoint
from flowviz.checkpoints.images.files import (
    FOLDER_NAME,
    find_images,
    image_checkpoints,
    is_images,
    load_classifier,
    load_images,
    locate_images,
    save_images,
)
from flowviz.checkpoints.images.quality import quality_file, read_quality, write_quality
from flowviz.checkpoints.images.runs import RUN_KEY, TRAINING, run_checkpoint, snapshot_checkpoint

__all__ = [
    "FOLDER_NAME",
    "RUN_KEY",
    "TRAINING",
    "ImageCard",
    "ImageCheckpoint",
    "describe_classifier",
    "describe_field",
    "find_images",
    "image_checkpoints",
    "is_images",
    "load_classifier",
    "load_images",
    "locate_images",
    "quality_file",
    "read_quality",
    "run_checkpoint",
    "save_images",
    "snapshot_checkpoint",
    "unet_shape",
    "write_quality",
]
