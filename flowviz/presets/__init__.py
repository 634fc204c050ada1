"""The cards of the home page: views worth a look, with pictures made by .github/presets.py."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A card of the home page: a picture of this folder, a text and the link of a view."""

    picture: str
    title: str
    text: str
    open: str
    alt: str

    @property
    def file(self) -> Path:
        """The file of the picture."""
        return Path(__file__).with_name(f"{self.picture}.webp")

    @property
    def page(self) -> str:
        """The name of the page."""
        return self.open.partition("?")[0]

    @property
    def link(self) -> dict[str, str]:
        """The state of the page: the value of each control, by its name in the URL."""
        return dict(parse_qsl(self.open.partition("?")[2]))


PRESETS = (
    Preset(
        picture="steps",
        title="4 steps only",
        text="Sampling with four evaluations: the steps on both paths.",
        open="compare?solver=euler&nfe=4&mode=steps&layers=particles,trails&t=1",
        alt="Four straight steps: on OT they end on the squares of the board, on VP around them.",
    ),
    Preset(
        picture="word",
        title="Your own word",
        text="Noise becomes a word that you type.",
        open="compare?data=word:FLOW&field=exact",
        alt="Particles that form the word FLOW.",
    ),
    Preset(
        picture="difference",
        title="Exact against learned",
        text="Where the networks err, and by how much.",
        open="compare?layers=particles,difference&figure=difference&t=0.8",
        alt="The error of two networks at t = 0.8, largest at the edges of the squares.",
    ),
    Preset(
        picture="images",
        title="Images in one step",
        text="One jump of a flow map beside one Euler step, from the same noise.",
        open="images?left=cifar10-ot-distillation&right=cifar10-ot&view=nfe&solver=jumps"
        "&guidance=1",
        alt="Noise, the blurred images of one Euler step, and the clear ones of one jump.",
    ),
    Preset(
        picture="samplers",
        title="ODE or SDE",
        text="Smooth or random trajectories, with the same densities.",
        open="particles",
        alt="Smooth trajectories of the ODE, and random ones of the SDE.",
    ),
    Preset(
        picture="pairings",
        title="Which OT?",
        text="A path, a coupling and a map are all called OT.",
        open="which_ot",
        alt="Pairs of noise and data: independent ones cross, optimal ones do not.",
    ),
    Preset(
        picture="claims",
        title="The three claims",
        text="Do straight paths train faster, sample faster, end better?",
        open="compare?data=checkerboard&left=ot&right=vp&field=exact&layers=particles,trails"
        "&figure=ways&lecture=three-claims&step=1",
        alt="Error against evaluations: the curve of OT lies below that of VP.",
    ),
    Preset(
        picture="densities",
        title="Density evolution",
        text="The paper's Figure 4: when each path forms the pattern.",
        open="figure4",
        alt="Densities of both paths at four times: OT forms the board earlier.",
    ),
)
