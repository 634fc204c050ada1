"""Data sets of the plane: seeded samplers whose distribution is known in closed form.

Every data set lives in one frame, the square [-FRAME, FRAME]^2, so that one noise N(0, I) suits
all of them. A data set is named by a short text, its spec, which is what URLs, cards and the
command line hold:

    checkerboard                a built-in data set (see DATASETS)
    mixture:-2,0;2,0@0.3        an even mixture of Gaussians: means by ";", then their std
    word:FLOW                   a word, drawn with ink
    points:3f2a...              points that a visitor uploaded, by the hash of their content
    picture:9c41...             a picture that a visitor uploaded, likewise
    drawing:77e0...             points that a visitor drew in the frame, likewise
    samples:1d5b...             samples of an opened network whose data set is not known, likewise
    from:8gaussians>moons       a data set and, before it, its source: the data set at t = 0 in the
                                place of Gaussian noise
    measurements.csv, cat.png   a file on this machine; t.csv:x=3,y=height,label=species and
                                cat.png:ink=light choose columns and pixels, see
                                `flowviz.datasets.uploads.Reading`

To add a built-in data set, write a sampler and an entry in `plane.py`.
"""

from flowviz.bounds import FRAME
from flowviz.datasets import plane
from flowviz.datasets.entry import DATASETS, Dataset
from flowviz.datasets.specs import dataset, is_linkable, joined, parted
from flowviz.datasets.uploads import PICTURE_SUFFIXES, TABLE_SUFFIXES, draw

__all__ = [
    "DATASETS",
    "FRAME",
    "PICTURE_SUFFIXES",
    "TABLE_SUFFIXES",
    "Dataset",
    "dataset",
    "draw",
    "is_linkable",
    "joined",
    "parted",
    "plane",
]
