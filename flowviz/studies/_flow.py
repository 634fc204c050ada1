"""The settings and the result of the study `flow`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Self

from numpy.typing import NDArray

from flowviz.experiments.density_evolution import DensityEvolution
from flowviz.experiments.evolution import FlowConfig, FlowResult, Scene, SceneConfig
from flowviz.experiments.fields import EXACT, short_name, trained_name
from flowviz.methods import all_methods, expected_nfe
from flowviz.settings import Config, setting, settings
from flowviz.solvers import METHODS
from flowviz.studies import _settings as declare
from flowviz.studies._numbers import joined

DEFAULT = FlowConfig()
LEARNED = "learned"

NO_NETWORK = "none"
"""Value of a network setting: use the exact field."""

PANELS = ("left", "right", "third", "fourth")
"""The panels in their order, by the names of their controls and of the numbers of findings."""

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
    """Two to four flows of the same particles, side by side."""

    data: str = declare.data()
    paths: tuple[str, ...] = declare.paths(
        help="The path of each panel, two to four.", max_chosen=len(PANELS)
    )
    field: str = declare.field(
        LEARNED,
        "Learned: a network trained on this data set and path. Exact: the closed form, which "
        "a perfect network would learn.",
    )
    networks: tuple[str, ...] = declare.names(
        "Networks", "A checkpoint for each path, or none: the exact field; by default DATA-PATH."
    )
    method: str = declare.method(
        DEFAULT.method,
        "The method that solves the ODE of the particles. With jumps, a field that is not a flow "
        "map shows the exact end of each jump.",
        choices=all_methods,
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
    solvers: tuple[str, ...] = setting(
        (),
        "Solver of each panel",
        advanced=True,
        help="A solver for each path with its NFE or tolerance, such as euler:8 dopri5:1e-3; by "
        "default that of --method for all.",
    )
    seed: int = declare.seed(
        "Seed of the noise", help="All panels start from the same noise, particle by particle."
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

    def __post_init__(self) -> None:
        super().__post_init__()
        count = len(self.paths)
        if not 2 <= count <= len(PANELS):
            raise ValueError(f"There must be 2 to {len(PANELS)} paths, one a panel; got {count}.")
        for name in ("networks", "solvers"):
            if len(entries := getattr(self, name)) not in (0, count):
                raise ValueError(
                    f"{name} must have an entry for each of the {count} paths, or none; "
                    f"got {len(entries)}."
                )
        for k in range(count):
            self.flow(k, self.paths[k], EXACT)

    def chosen(self) -> Self:
        """See `Config.chosen`."""
        names = self.networks or [""] * len(self.paths)
        return replace(self, networks=tuple(map(self._network, self.paths, names)))

    def _network(self, path: str, name: str) -> str:
        if self.field == EXACT and path != "learned":
            return NO_NETWORK
        return name or trained_name(self.data, path) or NO_NETWORK

    def work(self, **sizes: float) -> float:
        """See `Config.work`; each panel takes the time of its solver."""
        if self.solvers:
            spent = [expected_nfe(**self.solver(k)) for k in range(len(self.paths))]
            sizes |= {"nfe": sum(spent) / len(spent)}
        return len(self.paths) / 2 * super().work(**sizes)

    def solver(self, k: int) -> dict[str, Any]:
        """The settings `method`, `nfe` and `tol` of panel k.

        Raises:
            ValueError: the entry of `solvers` is not METHOD, METHOD:NFE or METHOD:TOL.
        """
        if not self.solvers:
            return {"method": self.method, "nfe": self.nfe, "tol": self.tol}
        name, _, budget = self.solvers[k].partition(":")
        values: dict[str, Any] = {"method": name, "nfe": self.nfe, "tol": self.tol}
        budget_setting = settings(type(self))["tol" if METHODS[name].adaptive else "nfe"]
        try:
            values |= {budget_setting.name: budget_setting.type(budget)} if budget else {}
        except ValueError:
            raise ValueError(
                f"An entry of solvers must be like euler:8 (NFE) or dopri5:1e-3 (tolerance); "
                f"got {self.solvers[k]!r}."
            ) from None
        budget_setting.check(SimpleNamespace(**values))
        return values

    @property
    def jumps(self) -> tuple[bool, ...]:
        """Whether each panel jumps, so that there is no trajectory between its states."""
        return tuple(METHODS[self.solver(k)["method"]].jumps for k in range(len(self.paths)))

    def flow(self, k: int, path: str, name: str) -> FlowConfig:
        """The flow of panel k on a path, with a field of this name."""
        return self.part(FlowConfig, path=path, field=name, **self.solver(k))


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the flows with the density and the field that its particles move through.

    Attributes:
        path: spec of the path.
        label: its name.
        title: the label, and what parts this panel from others, see `titled`.
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
    title: str = ""

    @property
    def exact(self) -> bool:
        """Whether the exact field moves the particles."""
        return self.config.field == EXACT

    @property
    def jumps(self) -> bool:
        """Whether the particles jump, so that they have no states between the steps."""
        return METHODS[self.config.method].jumps

    @property
    def is_map(self) -> bool:
        """Whether the particles jump by a flow map, which has no density of its own."""
        return self.jumps and not self.flow.integrated

    @property
    def note(self) -> str:
        """What moves the particles, in a few words."""
        kind = "exact" if self.exact else "learned"
        if not self.jumps:
            return f"{kind} field"
        return "flow map" if self.is_map else f"{kind} field, integrated for each jump"


def titled(sides: Iterable[Side]) -> tuple[Side, ...]:
    """The sides with their titles: what differs in solver or budget, or in network on one path."""
    sides = tuple(sides)
    titled_sides = []
    for side in sides:
        same_label = [each for each in sides if each.label == side.label]
        descriptions = [
            (_method, sides),
            (_budget, sides),
            (lambda each: short_name(each.config.field), same_label),
        ]
        if len(same_label) == 1:  # else the network says it
            descriptions.insert(1, (_jumps, sides))
        differ = (
            describe(side)
            for describe, among in descriptions
            if len(set(map(describe, among))) > 1
        )
        parts = list(filter(None, differ))
        title = f"{side.label} ({', '.join(parts)})" if parts else side.label
        titled_sides.append(replace(side, title=title))
    return tuple(titled_sides)


def noticed_jumps(config: CompareConfig, sides: Sequence[Side] = ()) -> str:
    """What one sees with the solver “jumps”, "" without it; `sides` are empty while unknown."""
    if not any(config.jumps):
        return ""
    kinds = [_jumps(side) for side in sides]
    maps, ends, steps = (
        [name for name, each in zip(PANELS, kinds, strict=False) if each == kind]
        for kind in ("flow map", "integrated", "")
    )
    if not ends and not steps:
        return declare.JUMPING.replace("j", "J", 1)
    notices = (
        (maps, declare.JUMPING),
        (ends, "the field, integrated to the end of each jump."),
        (steps, "steps along the velocity."),
    )
    return " ".join(
        f"{joined(names).capitalize()}: {notice}" for names, notice in notices if names
    )


def _method(side: Side) -> str:
    return METHODS[side.config.method].label


def _jumps(side: Side) -> str:
    """What jumps: a flow map, or an integration to the end of each jump; "" of other solvers."""
    if not side.jumps:
        return ""
    return "flow map" if side.is_map else "integrated"


def _budget(side: Side) -> str:
    """The number that a solver was given; the method says what it is of."""
    config = side.config
    return f"tol {config.tol:g}" if METHODS[config.method].adaptive else f"NFE {config.nfe}"


@dataclass(frozen=True, kw_only=True, eq=False)
class CompareResult:
    """All sides; `densities` are the learned densities over time where they were computed."""

    sides: tuple[Side, ...]
    densities: tuple[DensityEvolution | None, ...] = ()

    def density(self, k: int) -> tuple[NDArray, NDArray, NDArray]:
        """Axis (H,), times (K,) and density (K, H, H) of a side: learned if known, else exact."""
        scene, learned = self.sides[k].scene, self.learned(k)
        if learned is None:
            return scene.axis, scene.times, scene.density
        return learned.axis, learned.times, learned.density

    def learned(self, k: int) -> DensityEvolution | None:
        """The learned density of side k over time; None if it was not computed."""
        return self.densities[k] if self.densities else None
