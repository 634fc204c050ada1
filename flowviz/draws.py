"""Random streams: independent generators derived from one seed and a name."""

import hashlib

import torch
from torch import Generator, Tensor


def stream(seed: int, name: str, *indices: int) -> Generator:
    """The generator for one purpose of a seed, such as "data", "noise" or "times".

    It is seeded by the SHA-256 hash of all arguments, so that neighbouring seeds and different
    purposes have unrelated numbers. PyTorch's CPU generator uses the low 32 bits of a seed: two
    given streams coincide with probability 2^-32.

    Args:
        seed: the user's seed.
        name: the purpose.
        indices: the position in a series of draws for that purpose, such as a step.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, name, *indices))).encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7]))


def noise(n: int, seed: int, shape: tuple[int, ...] = (2,)) -> Tensor:
    """The initial noise (n, *shape) float32 of the samples of a seed, standard normal.

    All pages and commands use it: equal seeds give equal noise.
    """
    return torch.randn(n, *shape, generator=stream(seed, "noise"))
