"""What the player draws, as arrays, and its packing into bytes for the browser.

Two kinds of payload, so that a change of solver, budget or seed does not send the planes again:
`pack` holds what the particles do (one entry a panel), `pack_scene` holds a plane (density,
velocity, difference, data), which depends on data set, path and network alone.

A payload is little-endian: the magic `FLOW`, version, header length and 0 as u32, a JSON header
padded to 8 bytes, then arrays, each at a multiple of 8 bytes from the header's end. Points are u16
over [-limit, limit], velocities i16 with one scale a time, densities u8 of a square root.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowviz.figures.theme import FRAME

__all__ = [
    "FRAME",
    "MAGIC",
    "VERSION",
    "Panel",
    "Readout",
    "Scene",
    "framed",
    "header_of",
    "pack",
    "pack_scene",
    "peaks_of",
]

MAGIC = b"FLOW"
VERSION = 1
REACH = 4.0
"""Points are kept up to this many frames from the origin; beyond, they are moved to that edge."""
PEAK = 0.999
"""The quantile of a plane that its brightest colour stands for: a spike would dim the rest."""


@dataclass(frozen=True)
class Readout:
    """A number under a panel: one for the whole run, or one a time, shown at the clock's time."""

    label: str
    values: ArrayLike
    """() or (K,), the panel's times; not finite shows as a dash."""
    decimals: int = 2
    unit: str = ""
    help: str = ""


@dataclass(frozen=True)
class Panel:
    """What one panel's particles do.

    `times` (K,) and `states` (K, n, 2) are drawn in between by straight lines, `step_times` (S+1,)
    and `step_states` (S+1, n, 2) are the solver's own and are never drawn in between.
    """

    title: str
    role: str
    """The particles' colour: a key of theme.ROLES or a path's spec; a newcomer is drawn in ink."""
    times: ArrayLike
    states: ArrayLike
    step_times: ArrayLike
    step_states: ArrayLike
    readouts: tuple[Readout, ...] = ()
    note: str = ""
    """A few words beside the title: field, solver, budget."""


@dataclass(frozen=True)
class Scene:
    """The plane behind the particles at times (K,); None leaves a layer out.

    Grids are values at the nodes of linspace(-frame, frame, h) in both directions, row 0 lowest.
    """

    times: ArrayLike
    density: ArrayLike | None = None
    """(K, h, h), at least 0."""
    density_peaks: ArrayLike | None = None
    """(K,), the densities of the ramp's far end, so that two scenes can share a scale; None: the
    PEAK quantile of each time's own."""
    velocity: ArrayLike | None = None
    """(K, g, g, 2)."""
    difference: ArrayLike | None = None
    """(K, d, d), the size of the difference of two fields."""
    data: ArrayLike | None = None
    """(m, 2) points of the data set."""
    density_label: str = "exact density p_t"
    velocity_label: str = "exact velocity u_t"
    difference_label: str = "|learned − exact| velocity"
    data_label: str = "data"


def pack(panels: Sequence[Panel], *, frame: float = FRAME) -> bytes:
    """The payload of the panels' particles: titles, times, states, solver steps, read-outs."""
    if not panels:
        raise ValueError("panels must hold at least one panel; got none.")
    blob = _Blob()
    entries = []
    for panel in panels:
        name = f"panel {panel.title!r}"
        times = _times(panel.times, f"times of {name}")
        states = _points(panel.states, len(times), f"states of {name}")
        step_times = _times(panel.step_times, f"step_times of {name}")
        steps = _points(panel.step_states, len(step_times), f"step_states of {name}")
        if steps.shape[1] != states.shape[1]:
            raise ValueError(
                f"step_states of {name} must hold the {states.shape[1]} particles of its states; "
                f"got {steps.shape[1]}."
            )
        limit = _limit(frame, states, steps)
        entries.append(
            {
                "title": panel.title,
                "note": panel.note,
                "role": panel.role.split(":")[0],
                "limit": limit,
                "times": blob.add(times.astype("<f4")),
                "states": blob.add(_quantised(states, limit)),
                "step_times": blob.add(step_times.astype("<f4")),
                "step_states": blob.add(_quantised(steps, limit)),
                "readouts": [_readout(r, len(times), name) for r in panel.readouts],
            }
        )
    return blob.bytes({"kind": "panels", "frame": frame, "panels": entries})


def pack_scene(scene: Scene, *, frame: float = FRAME) -> bytes:
    """The payload of one panel's plane; panels of one path and data set can share it."""
    times = _times(scene.times, "times of the scene")
    blob = _Blob()
    header: dict[str, Any] = {
        "kind": "scene",
        "frame": frame,
        "times": blob.add(times.astype("<f4")),
        "labels": {
            "density": scene.density_label,
            "field": scene.velocity_label,
            "difference": scene.difference_label,
            "data": scene.data_label,
        },
    }
    if scene.density is not None:
        density = _grid(scene.density, len(times), "density")
        # Each time has its own peak: the peak of p_t moves over orders of magnitude with t.
        peaks = scene.density_peaks
        if peaks is None:
            peaks = peaks_of(density)
        peaks = np.asarray(peaks, "<f4")
        if peaks.shape != times.shape:
            raise ValueError(
                f"density_peaks must hold one number a time, ({len(times)},); got {peaks.shape}."
            )
        header["density"] = blob.add(_rooted(density, peaks))
        header["density_peak"] = blob.add(peaks)
    if scene.velocity is not None:
        velocity = _grid(scene.velocity, len(times), "velocity", 2)
        scale = np.abs(velocity).reshape(len(times), -1).max(axis=1).astype("<f4") / 32767
        safe = np.where(scale > 0, scale, 1)[:, None, None, None]
        header["velocity"] = blob.add(np.round(velocity / safe).clip(-32767, 32767).astype("<i2"))
        header["velocity_scale"] = blob.add(scale)
        speed = float(np.median(np.linalg.norm(velocity, axis=-1)))
        header["speed"] = speed or 1.0
    if scene.difference is not None:
        difference = _grid(scene.difference, len(times), "difference")
        peak = float(np.quantile(difference, PEAK))
        header["difference"] = blob.add(_rooted(difference, np.full(len(times), peak, "<f4")))
        header["difference_peak"] = peak
    if scene.data is not None:
        data = _points(np.asarray(scene.data)[None], 1, "data of the scene")[0]
        header["data_limit"] = _limit(frame, data)
        header["data"] = blob.add(_quantised(data, header["data_limit"]))
    return blob.bytes(header)


def peaks_of(density: ArrayLike) -> NDArray[np.float64]:
    """What the ramp's far end stands for at each time of densities (K, h, h), (K,)."""
    grids = np.asarray(density)
    return np.quantile(grids.reshape(len(grids), -1), PEAK, axis=1)


class _Blob:
    """Arrays laid one after the other, each at a multiple of 8 bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: NDArray) -> dict[str, Any]:
        """Where the array lies: dtype, shape and offset."""
        raw = np.ascontiguousarray(array).tobytes()
        entry = {"dtype": array.dtype.str[1:], "shape": array.shape, "offset": self._size}
        self._parts += [raw, bytes(-len(raw) % 8)]
        self._size += len(raw) + -len(raw) % 8
        return entry

    def bytes(self, header: dict[str, Any]) -> bytes:
        """The whole payload under a header, which gets the content's hash as its name."""
        digest = hashlib.blake2b(json.dumps(header).encode(), digest_size=8)
        for part in self._parts:
            digest.update(part)
        return framed(header | {"name": digest.hexdigest()}, *self._parts)


def framed(header: dict[str, Any], *parts: bytes) -> bytes:
    """A payload of a header and what follows it."""
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([MAGIC, struct.pack("<III", VERSION, len(text), 0), text, *parts])


def header_of(payload: bytes, kind: str) -> dict[str, Any]:
    """The header of a payload of this kind ("panels" or "scene")."""
    header: dict[str, Any] = {}
    if payload[:4] == MAGIC:
        length = struct.unpack_from("<I", payload, 8)[0]
        header = json.loads(payload[16 : 16 + length])
    if header.get("kind") != kind:
        maker = {"panels": "pack", "scene": "pack_scene"}[kind]
        raise ValueError(f"The {kind} must be what {maker}() returned; got other bytes.")
    return header


def _times(times: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(times, np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.all(np.diff(array) > 0):
        raise ValueError(f"The {name} must be at least two rising numbers; got {_shown(array)}.")
    return array


def _points(points: ArrayLike, count: int, name: str) -> NDArray[np.float32]:
    array = np.asarray(points, np.float32)
    if array.ndim != 3 or array.shape[0] != count or array.shape[1] < 1 or array.shape[2] != 2:
        raise ValueError(f"The {name} must have shape ({count}, n, 2); got {array.shape}.")
    return _finite(array, name)


def _grid(grid: ArrayLike, count: int, name: str, *last: int) -> NDArray[np.float32]:
    array = np.asarray(grid, np.float32)
    shape = array.shape
    if shape[:1] + shape[3:] != (count, *last) or len(shape) < 3 or not 2 <= shape[1] == shape[2]:
        wanted = ", ".join(map(str, (count, "h", "h", *last)))
        raise ValueError(f"The {name} must have shape ({wanted}) with h >= 2; got {shape}.")
    _finite(array, name)
    if not last and array.min() < 0:
        raise ValueError(f"The {name} must be at least 0; got {array.min():.3g}.")
    return array


def _finite(array: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"The {name} must be finite; got {bad} numbers that are not.")
    return array


def _limit(frame: float, *points: NDArray) -> float:
    """The half-width of the square that the u16 steps divide."""
    return float(np.clip(max(np.abs(p).max() for p in points), frame, REACH * frame))


def _quantised(points: NDArray, limit: float) -> NDArray[np.uint16]:
    return np.rint((np.clip(points, -limit, limit) / limit + 1) * (65535 / 2)).astype("<u2")


def _rooted(grid: NDArray, peaks: NDArray) -> NDArray[np.uint8]:
    """sqrt(grid / peak) as u8: the eye and the 8 bits both want the steps where little is."""
    safe = np.where(peaks > 0, peaks, 1)[:, None, None]
    return np.rint(255 * np.sqrt(np.clip(grid / safe, 0, 1))).astype("u1")


def _readout(readout: Readout, count: int, name: str) -> dict[str, Any]:
    values = np.asarray(readout.values, np.float64)
    if values.shape not in ((), (count,)):
        raise ValueError(
            f"The read-out {readout.label!r} of {name} must be one number or {count}, one a time; "
            f"got shape {values.shape}."
        )
    # JSON knows no NaN; null is drawn as a dash. Six digits are more than a read-out shows.
    numbers = [float(f"{v:.6g}") if np.isfinite(v) else None for v in values.reshape(-1)]
    return {
        "label": readout.label,
        "values": numbers,
        "decimals": readout.decimals,
        "unit": readout.unit,
        "help": readout.help,
    }


def _shown(array: NDArray) -> str:
    return f"shape {array.shape}" if array.ndim != 1 or len(array) < 2 else "some that fall"
