"""A mixture of equally weighted Gaussians at given means: mixture:-2,0;2,0@0.3."""

import math

import torch

from flowviz.bounds import FRAME, shown
from flowviz.datasets.entry import Dataset
from flowviz.distributions import GaussianMixture

MAX_MEANS = 64
STD_RANGE = (0.02, 2.0)
EXAMPLE = "mixture:-2,0;2,0@0.3"


def mixture_spec(means: list[tuple[float, float]], std: float) -> str:
    """The spec of the equal mixture of N(mean, std^2 I) over `means`, in frame coordinates."""
    means_text = ";".join(f"{x:g},{y:g}" for x, y in means)
    return f"mixture:{means_text}@{std:g}"


def mixture(text: str) -> Dataset:
    """The data set of a mixture; `text` is the part of the spec after "mixture:".

    Raises:
        ValueError: `text` is not <x>,<y>;<x>,<y>...@<std>, or a number is out of range.
    """
    means_text, separator, width = text.partition("@")
    if not separator:
        raise ValueError(
            f"A mixture must end in @ and its standard deviation; got {shown(text)}. "
            f"Write it as in {EXAMPLE}."
        )
    means = [_mean(mean_text) for mean_text in means_text.split(";")]
    std = _number(width, "The standard deviation of a mixture")
    if len(means) > MAX_MEANS:
        raise ValueError(
            f"A mixture must have at most {MAX_MEANS} means; got {len(means)}. Remove some."
        )
    if not STD_RANGE[0] <= std <= STD_RANGE[1]:
        raise ValueError(
            f"The standard deviation of a mixture must be from {STD_RANGE[0]:g} to "
            f"{STD_RANGE[1]:g}; got {std:g}."
        )
    distribution = GaussianMixture(torch.tensor(means, dtype=torch.float64), std)
    count = "1 Gaussian" if len(means) == 1 else f"{len(means)} Gaussians"
    return Dataset(
        name=mixture_spec(means, std),
        label="your Gaussians",
        sentence=f"{count} of standard deviation {std:g} that you placed.",
        sampler=distribution.sample,
        distribution=distribution,
    )


def _mean(text: str) -> tuple[float, float]:
    cells = text.split(",")
    if len(cells) != 2:
        raise ValueError(
            f"Each mean of a mixture must be two numbers separated by a comma; got "
            f"{shown(text)}. Write it as in {EXAMPLE}."
        )
    x, y = (_number(cell, "Each coordinate of a mixture's mean") for cell in cells)
    if max(abs(x), abs(y)) > FRAME:
        raise ValueError(
            f"Each mean of a mixture must lie in the frame, from {-FRAME:g} to {FRAME:g}; "
            f"got ({x:g}, {y:g})."
        )
    return x, y


def _number(text: str, subject: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{subject} must be a number; got {shown(text)}. Write it as in {EXAMPLE}."
        )
    return number
