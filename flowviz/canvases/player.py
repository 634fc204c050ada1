"""Data of the player: particles (`pack`), planes (`pack_scene`) and the view (`envelope`).

Particles and planes are separate payloads, so that a change of solver, NFE or seed does not send
the planes again, which depend on data set, path and network alone. Points are u16 over
[-limit, limit], velocities i16 with one scale per time, densities u8 of a square root.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.canvases import themes
from flowviz.canvases.wire import class_entries, encode, header_of, quantised, role_of
from flowviz.figures import theme
from flowviz.figures.theme import FRAME

DENSITIES = ("exact", "learned")
LAYERS = ("particles", "trails", "density", "field", "data", "difference")
MODES = ("smooth", "steps")
LAYOUTS = ("panels", "strip")
SPEEDS = (0.25, 0.5, 1.0, 2.0)
REACH = 4.0
"""Points are kept up to this number of frames from the origin; those beyond are moved there."""
PEAK = 0.999
"""The quantile of a plane that gets the brightest colour: a spike would darken all else."""
DENSITY_STOPS = 5
"""Stops of the density ramp that are used: coloured particles must be visible on the darkest."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Clock, layers, density, mode, layout and speed."""

    t: float = 0.0
    """The clock in [0, 1]."""
    layers: tuple[str, ...] = ("particles", "density", "field")
    density: str = "exact"
    """The density that the layer shows on panels that have a learned one."""
    mode: str = "smooth"
    layout: str = "panels"
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for an entry that the player cannot show."""
        if not 0 <= self.t <= 1:
            raise ValueError(f"t must be in [0, 1]; got {self.t}.")
        for name in self.layers:
            if name not in LAYERS:
                raise ValueError(f"A layer must be one of {', '.join(LAYERS)}; got {name!r}.")
        fields = {"density": DENSITIES, "mode": MODES, "layout": LAYOUTS, "speed": SPEEDS}
        for field, known in fields.items():
            if getattr(self, field) not in known:
                names = ", ".join(map(str, known))
                raise ValueError(f"{field} must be one of {names}; got {getattr(self, field)!r}.")


@dataclass(frozen=True)
class Readout:
    """A number under a panel: one for the whole run, or one per time of the clock."""

    label: str
    values: ArrayLike
    """() or (K,), at the panel's times; values that are not finite are shown as a dash."""
    decimals: int = 2
    unit: str = ""
    help: str = ""


@dataclass(frozen=True)
class Panel:
    """The particles of one panel.

    `states` (K, n, 2) at `times` (K,) are interpolated linearly; `step_states` (S+1, n, 2) at
    `step_times` (S+1,) are the solver's steps and are not interpolated. With `jumps` both are the
    same, and the particles have no states between them.
    """

    title: str
    role: str
    """The particles' colour: a key of theme.ROLES or a path's spec; others are drawn in ink."""
    times: ArrayLike
    states: ArrayLike
    step_times: ArrayLike
    step_states: ArrayLike
    readouts: tuple[Readout, ...] = ()
    note: str = ""
    """A few words beside the title: field, solver, NFE."""
    badge: str = ""
    """A few words on the picture, where it is not what was chosen."""
    by_origin: bool = False
    """Whether the colour of a particle is the direction of its start from the centre."""
    start: str = "noise"
    """What the particles are at t = 0, for the legend."""
    jumps: bool = False


@dataclass(frozen=True)
class Scene:
    """The plane behind the particles at times (K,); a layer that is None is left out.

    Grids are values at the nodes of linspace(-frame, frame, h) in both directions, row 0 lowest.
    """

    times: ArrayLike
    density: ArrayLike | None = None
    """(K, h, h), at least 0."""
    density_peaks: ArrayLike | None = None
    """(K,), the densities at the end of the ramp, so that two scenes can share a scale; None: the
    PEAK quantile at each time."""
    velocity: ArrayLike | None = None
    """(K, g, g, 2)."""
    difference: ArrayLike | None = None
    """(K, d, d), the norm of the difference of two fields."""
    data: ArrayLike | None = None
    """(m, 2) points of the data set."""
    classes: ArrayLike | None = None
    """(m,), the class of each point, which gives its colour."""
    class_names: tuple[str, ...] = ()
    density_label: str = "exact density p_t"
    velocity_label: str = "exact velocity u_t"
    difference_label: str = "|learned − exact| velocity"
    data_label: str = "data"


def pack(panels: Sequence[Panel]) -> bytes:
    """The payload of the panels' particles: titles, times, states, solver steps, read-outs.

    Raises:
        ValueError: a state is not finite.
    """
    entries = []
    for panel in panels:
        states = _finite(panel.states, f"states of panel {panel.title!r}")
        steps = _finite(panel.step_states, f"step_states of panel {panel.title!r}")
        limit = _limit(states, steps)
        entries.append(
            {
                "title": panel.title,
                "note": panel.note,
                "badge": panel.badge,
                "role": role_of(panel.role),
                "by_origin": panel.by_origin,
                "jumps": panel.jumps,
                "start": panel.start,
                "limit": limit,
                "times": np.asarray(panel.times, "<f4"),
                "states": quantised(states, limit),
                "step_times": np.asarray(panel.step_times, "<f4"),
                "step_states": quantised(steps, limit),
                "readouts": [_readout(each) for each in panel.readouts],
            }
        )
    return encode({"kind": "panels", "frame": FRAME, "panels": entries})


def pack_scene(scene: Scene) -> bytes:
    """The payload of one panel's plane; panels of one path and data set can share it.

    Raises:
        ValueError: a number is not finite.
    """
    times = np.asarray(scene.times, "<f4")
    header: dict[str, Any] = {
        "kind": "scene",
        "frame": FRAME,
        "times": times,
        "labels": {
            "density": scene.density_label,
            "field": scene.velocity_label,
            "difference": scene.difference_label,
            "data": scene.data_label,
        },
    }
    if scene.density is not None:
        density = _finite(scene.density, "density")
        # One peak per time: the peak of p_t changes by orders of magnitude.
        peaks = peaks_of(density) if scene.density_peaks is None else scene.density_peaks
        header["density_peak"] = np.asarray(peaks, "<f4")
        header["density"] = _rooted(density, header["density_peak"])
    if scene.velocity is not None:
        velocity = _finite(scene.velocity, "velocity")
        scale = np.abs(velocity).reshape(len(times), -1).max(axis=1).astype("<f4") / 32767
        safe = np.where(scale > 0, scale, 1)[:, None, None, None]
        header["velocity"] = np.round(velocity / safe).clip(-32767, 32767).astype("<i2")
        header["velocity_scale"] = scale
        header["speed"] = float(np.median(np.linalg.norm(velocity, axis=-1))) or 1.0
    if scene.difference is not None:
        difference = _finite(scene.difference, "difference")
        peak = float(np.quantile(difference, PEAK))
        header["difference"] = _rooted(difference, np.full(len(times), peak, "<f4"))
        header["difference_peak"] = peak
    if scene.data is not None:
        data = _finite(scene.data, "data of the scene")
        header["data_limit"] = _limit(data)
        header["data"] = quantised(data, header["data_limit"])
        if scene.classes is not None:
            header |= class_entries(scene.classes, scene.class_names)
    return encode(header)


def envelope(
    panels: bytes,
    scenes: Sequence[bytes | None],
    *,
    key: str,
    learned: Sequence[bytes | None] | None = None,
    view: View,
    autoplay: bool,
    loop: bool = False,
    reserve: int | None,
    live: Mapping[str, Any] | None = None,
) -> tuple[bytes, list[bytes | None]]:
    """The payload that the player itself is given, and the scenes to send along.

    Args:
        panels: from `pack`.
        scenes: from `pack_scene`, one per panel; None for a panel without.
        key: identifies the player; the browser keeps one view per key.
        learned: None if no learned density can be selected; else one scene per panel with that
            density alone, or None while there is none.
        view: shown first.
        autoplay: play once from t = 0, unless the user's system requests reduced motion.
        loop: play again and again, with the clock and the panels only, and report nothing.
        reserve: height in pixels that page and controls need, so that the planes fit the window;
            None in a lecture, where the planes fill the room that its text leaves.
        live: what belongs to these particles, for `js/live/preview.js`: "seed", and "method" and
            "nfe" of each panel in "sides"; "model", the name of the payload that has the fields,
            and "controls", the selectors of the elements of the page with these values.

    Returns:
        The payload, and `scenes` followed by `learned` with None for repeated ones.
    """
    packed = header_of(panels, "panels")
    count = len(packed["panels"])
    all_scenes = [*scenes, *(learned if learned is not None else [None] * count)]
    names = [None if each is None else header_of(each, "scene")["name"] for each in all_scenes]
    payload = encode(
        {
            "kind": "player",
            "key": key,
            "scenes": names[:count],
            "learned": names[count:],
            "learnable": learned is not None,
            "initial": asdict(view),
            "autoplay": autoplay and view.t == 0,
            "loop": loop,
            "reserve": reserve,
            "live": live,
            "theme": colours(),
            "payload": packed["name"],
            "panels": np.frombuffer(panels, "u1"),
        }
    )
    return payload, [
        None if n in names[:i] else each
        for i, (n, each) in enumerate(zip(names, all_scenes, strict=True))
    ]


def peaks_of(density: ArrayLike) -> NDArray[np.float64]:
    """The densities (K,) at the end of the ramp at each time of densities (K, h, h)."""
    grids = np.asarray(density)
    return np.quantile(grids.reshape(len(grids), -1), PEAK, axis=1)


def _finite(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.asarray(values, np.float32)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"The {name} must be finite; got {bad} numbers that are not.")
    return array


def _limit(*points: NDArray) -> float:
    """The half-width of the square that u16 divides into steps."""
    return float(np.clip(max(np.abs(p).max() for p in points), FRAME, REACH * FRAME))


def _rooted(grid: NDArray, peaks: NDArray) -> NDArray[np.uint8]:
    """sqrt(grid / peak) as u8: the root gives small values more of the 256 steps."""
    safe = np.where(peaks > 0, peaks, 1)[:, None, None]
    return np.rint(255 * np.sqrt(np.clip(grid / safe, 0, 1))).astype("u1")


def _readout(readout: Readout) -> dict[str, Any]:
    values = np.ravel(np.asarray(readout.values, np.float64))
    # JSON has no NaN; null is drawn as a dash. A read-out shows less than six digits.
    numbers = [float(f"{v:.6g}") if np.isfinite(v) else None for v in values]
    return {
        "label": readout.label,
        "values": numbers,
        "decimals": readout.decimals,
        "unit": readout.unit,
        "help": readout.help,
    }


def colours() -> dict[str, Any]:
    """The colours of the player in both themes."""
    return themes(
        lambda dark: {
            "roles": {role: pair[dark] for role, pair in theme.ROLES.items()},
            "density": theme.DENSITY_RAMP[dark][:DENSITY_STOPS],
            "difference": theme.DIFFERENCE_RAMP[dark],
            "classes": theme.class_colours(dark=dark),
            "cycle": theme.CYCLE[dark],
        }
    )
