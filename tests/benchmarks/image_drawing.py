"""Processor seconds of one core to sample a checkpoint's images, for which visitors wait.

    OMP_NUM_THREADS=1 taskset -c 1 python tests/benchmarks/image_drawing.py cifar10-ot

Prints the time of 16 guided images at NFE 20 (target: 2 s on two cores), then of each row of the
study's grid of five columns, six rows and two sides (targets on two cores, which draw a side each:
the first row within 1 s, all rows within 12 s).
"""

import argparse
import time

from flowviz.checkpoints.images import load_images
from flowviz.device import limit_threads
from flowviz.experiments.images import ImageConfig, sample_all
from flowviz.studies import STUDIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="name or file of a field of images with classes")
    limit_threads(1)
    checkpoint = load_images(parser.parse_args().checkpoint)
    classes = tuple(range(len(checkpoint.card.classes)))
    for _ in range(3):
        start = time.process_time()
        drawn = sample_all(checkpoint, ImageConfig(classes=classes, n=16, nfe=20))
        print(f"16 images, NFE {drawn.nfe:g}: {time.process_time() - start:.2f} s")
    start, grid = time.process_time(), STUDIES["image-grid"]
    for sheet in grid.compute(grid.config(view="nfe")):
        drawn, count = sheet.drawn
        print(f"{drawn} of {count} images: after {time.process_time() - start:.2f} s")


if __name__ == "__main__":
    main()
