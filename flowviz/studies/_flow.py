"""The settings and the result of the study `flow`."""

from dataclasses import dataclass, field, replace
from typing import Self

from numpy.typing import NDArray

from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.experiments.evolution import FlowConfig, FlowResult, Scene, SceneConfig
from flowviz.experiments.fields import EXACT, trained_name
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies import _settings as declare

DEFAULT = FlowConfig()
LEARNED = "learned"

NO_NETWORK = "none"
"""Value of a network setting: use the exact field."""

PICTURES = {
    "moment": "One time",
    "ways": "Trajectories",
    "strip": "Ten times",
    "origin": "By origin",
    "class": "By class",
    "quality": "Quality over time",
    "difference": "Learned − exact",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Two flows of the same particles, side by side."""

    data: str = declare.data()
    left: str = declare.path("ot", slug="left")
    right: str = declare.path("vp", slug="right")
    field: str = declare.field(
        LEARNED,
        "Learned: a network trained on this data set and path. Exact: the closed form, which "
        "a perfect network would learn.",
    )
    left_network: str = declare.network("Left network")
    right_network: str = declare.network("Right network")
    method: str = declare.method(
        DEFAULT.method,
        "The method that solves the ODE of the particles. With jumps, a field that is not a flow "
        "map shows the exact end of each jump.",
        choices=METHODS,
    )
    nfe: int = declare.nfe(
        DEFAULT.nfe,
        "The cost of a sample. Adaptive solvers ignore it.",
    )
    tol: float = declare.tol(
        DEFAULT.tol,
        "Of an adaptive solver: in each step, the estimated error of every particle stays "
        "below it. The flow can magnify these errors. The NFE is counted.",
    )
    seed: int = declare.seed(
        "Seed of the noise", help="Both sides start from the same noise, particle by particle."
    )
    t: float = setting(
        0.0, "Time t", bounds=(0.0, 1.0), display=True, help="Time of the figure: 0 noise, 1 data."
    )
    mode: str = setting(
        "smooth",
        "Particles",
        choices={
            "smooth": "interpolated between the steps",
            "steps": "at the solver's steps only",
        },
        display=True,
        help="Whether particles are drawn at time t or at the last step before it.",
    )
    picture: str = setting(
        "moment", "Figure", slug="figure", choices=PICTURES, display=True, help="Figure to draw."
    )

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        return replace(
            self,
            left_network=self._network(self.left, self.left_network),
            right_network=self._network(self.right, self.right_network),
        )

    def _network(self, path: str, name: str) -> str:
        if self.field == EXACT and path != "learned":
            return NO_NETWORK
        return name or trained_name(self.data, path) or NO_NETWORK

    def flow(self, path: str, name: str) -> FlowConfig:
        """The flow of one side."""
        return self.part(FlowConfig, path=path, field=name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the two flows with the density and the field that its particles move through.

    Attributes:
        path: spec of the path.
        label: its name.
        config: the flow's config.
        flow: the particles.
        scene: density, velocity and error over the plane.
        scene_config: its config.
        half_time: time at which the density has half of its pattern; None without a pattern.
        untrained: whether a learned field was chosen and there is none, so that this is exact.
    """

    path: str
    label: str
    config: FlowConfig
    flow: FlowResult
    scene: Scene
    scene_config: SceneConfig
    half_time: float | None = None
    untrained: bool = False

    @property
    def exact(self) -> bool:
        """Whether the exact field moves the particles."""
        return self.config.field == EXACT

    @property
    def note(self) -> str:
        """What moves the particles, in a few words."""
        kind = "exact" if self.exact else "learned"
        if not METHODS[self.config.method].jumps:
            return f"{kind} field"
        return f"{kind} field, integrated for each jump" if self.flow.integrated else "flow map"


@dataclass(frozen=True, kw_only=True, eq=False)
class CompareResult:
    """Both sides; `densities` are the learned densities over time where they were computed."""

    sides: tuple[Side, Side]
    densities: tuple[DensityEvolution | None, ...] = field(default=(None, None))

    def density(self, k: int) -> tuple[NDArray, NDArray, NDArray]:
        """Axis (H,), times (K,) and density (K, H, H) of a side: learned if known, else exact."""
        scene, learned = self.sides[k].scene, self.densities[k]
        if learned is None:
            return scene.axis, scene.times, scene.density
        return learned.axis, learned.times, learned.density
