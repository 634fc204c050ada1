"""Images a second that one core trains and draws, for several shapes of the small U-Net.

    OMP_NUM_THREADS=1 taskset -c 1 python tests/benchmarks/image_throughput.py [--rounds 5]

Prints medians of processor time, which other processes change least, and measures the shapes in
turn, so that all have the same load. The choice in `flowviz.networks.unet` follows from it.
"""

import argparse
import statistics
import time
from dataclasses import replace

import torch

from flowviz.networks import IMAGE_NETWORKS, UNet

BATCH, DRAWN = 64, 32  # 16 guided images are 32 passes

SMALL = IMAGE_NETWORKS["small"]
SHAPES = {
    "small": SMALL,
    "small, learned resampling": replace(SMALL, conv_resample=True),
    "32 x 1,2,2, attention at 4": replace(
        SMALL, channel_mult=(1, 2, 2), attention_resolutions=(4,), conv_resample=True
    ),
    "48 x 1,2,2": replace(SMALL, model_channels=48, channel_mult=(1, 2, 2)),
    "40 x 1,2,4": replace(SMALL, model_channels=40),
    "64 x 1,2,2": replace(SMALL, model_channels=64, channel_mult=(1, 2, 2)),
}


class Candidate:
    """A network with its timings."""

    def __init__(self, shape, *, compiled, channels_last):
        form = torch.channels_last if channels_last else torch.contiguous_format
        self.network = UNet(shape, num_classes=10).to(memory_format=form)
        if compiled:
            self.network.compile(dynamic=False)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), fused=True)
        self.x = torch.randn(BATCH, 3, 32, 32).to(memory_format=form)
        self.clock, self.y = torch.rand(BATCH, 2), torch.randint(0, 10, (BATCH,))
        self.trained, self.drawn = [], []

    def train(self):
        loss = (self.network(self.clock, self.x, self.y) - self.x).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def draw(self):
        self.network(self.clock[0], self.x[:DRAWN], self.y[:DRAWN])

    def measure(self):
        for call, seconds in ((self.train, self.trained), (self.draw, self.drawn)):
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--no-channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    candidates = {
        name: Candidate(
            shape, compiled=options.compile, channels_last=not options.no_channels_last
        )
        for name, shape in SHAPES.items()
    }
    for candidate in candidates.values():
        candidate.train()  # the first call is a warm-up
    for _ in range(options.rounds):
        for candidate in candidates.values():
            candidate.measure()
    for name, candidate in candidates.items():
        size = sum(p.numel() for p in candidate.network.parameters()) / 1e6
        trained = BATCH / statistics.median(candidate.trained)
        drawn = DRAWN / statistics.median(candidate.drawn)
        print(f"{name:28s} {size:5.2f} M  trains {trained:4.0f}  draws {drawn:4.0f} images/s")


if __name__ == "__main__":
    main()
