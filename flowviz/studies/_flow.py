"""The settings and the result of the study `flow`."""

from dataclasses import dataclass, field

from numpy.typing import NDArray

from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.experiments.evolution import EXACT, FlowConfig, FlowResult, Scene, SceneConfig
from flowviz.settings import Config, setting
from flowviz.solvers import METHODS
from flowviz.studies._common import data_setting, path_setting, seed_setting

DEFAULT = FlowConfig()
LEARNED = "learned"

PICTURES = {
    "moment": "One time",
    "ways": "Trajectories",
    "strip": "Ten times",
    "quality": "Quality over time",
    "difference": "Learned − exact",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Config):
    """Two flows of the same particles, side by side."""

    data: str = data_setting()
    left: str = path_setting("ot", slug="left")
    right: str = path_setting("vp", slug="right")
    field: str = setting(
        LEARNED,
        "Velocity field",
        choices={LEARNED: "Learned", EXACT: "Exact"},
        help="Learned: a network trained on this data set and path. Exact: the closed form, which "
        "a perfect network would learn.",
    )
    left_network: str = setting(
        "", "Left network", advanced=True, help="A checkpoint; by default DATA-PATH."
    )
    right_network: str = setting(
        "", "Right network", advanced=True, help="A checkpoint; by default DATA-PATH."
    )
    method: str = setting(
        DEFAULT.method,
        "ODE solver",
        slug="solver",
        choices=METHODS,
        help="The method that solves the ODE of the particles.",
    )
    nfe: int = setting(
        DEFAULT.nfe,
        "NFE",
        bounds=(1, 10_000),
        help="Number of function evaluations (NFE): how often the solver computes the velocity, "
        "which is the cost of a sample. Adaptive solvers ignore it.",
    )
    tol: float = setting(
        DEFAULT.tol,
        "Tolerance",
        bounds=(1e-12, 0.5),
        help="Of an adaptive solver: in each step, the estimated error of every particle stays "
        "below it. The flow can magnify these errors. The NFE is counted.",
    )
    seed: int = seed_setting(
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

    def flow(self, path: str, name: str) -> FlowConfig:
        """The flow of one side."""
        shared = {key: getattr(self, key) for key in ("data", "method", "nfe", "tol", "seed")}
        return FlowConfig(path=path, field=name, **shared)


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
