"""The parts of the Train page: controls, the running training, its result."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from flowviz import checkpoints, datasets
from flowviz.checkpoints import Card, CheckpointError, opened
from flowviz.couplings import COUPLINGS
from flowviz.experiments.live import (
    JUMPS,
    MEASURED,
    NFE,
    QUALITY,
    LiveResult,
    Snapshot,
    Trace,
    train_live,
)
from flowviz.figures import curves, theme
from flowviz.files import TargetError, cause
from flowviz.metrics import METRICS
from flowviz.objectives import OBJECTIVES, WEIGHTINGS
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.training import TrainConfig, default_rate
from flowviz.training import times as drawn_times
from flowviz.training.plane import BRIDGE
from flowviz.training.semidiscrete import DATA_COUPLINGS
from flowviz.training.targets import TARGETS, has_means
from flowviz.ui import cache, data_picker, downloads, figure, limits, navigation, state, work
from flowviz.ui import paths as path_menus
from flowviz.ui.monitor import MonitorState, monitor, pack
from flowviz.ui.notices import escaped
from flowviz.ui.theme import is_dark
from flowviz.ui.work import Placed

DEFAULT = TrainConfig()
NONE = "none"
PLACE = "train"
PAYLOAD = "payload:train"
"""Session state: the last payload, apart from the controls, which a lecture resets."""
POLL = 1.0
"""Seconds between two updates of the page during a training."""
SURE_SECONDS = 5.0
"""Time before the first estimate of the remaining time."""
MAX_STEPS = 100_000
MAX_WIDTH = 512
MAX_BATCH = 4_096
MAX_OT_BATCH = 1_024
"""The exact assignment of a batch takes time that grows with the cube of its size."""
DATA_POINTS = 1_500
INPUTS = 70
"""About the number of inputs of a network: coordinates and sines of the time and of them."""
SPEED = 1e10
"""Weights times samples that a core trains in a second: 364 steps/s of 3 x 128 at batch 512."""

COUPLING_LABELS = {
    "independent": "independent",
    "minibatch-ot": "minibatch OT",
    "sinkhorn": "entropic OT (Sinkhorn)",
    "semidiscrete": "semidiscrete OT",
}


@dataclass(frozen=True)
class Settings:
    """The settings of the sidebar: one config per path, or why they are invalid."""

    data: str
    paths: tuple[str, ...]
    steps: int
    configs: tuple[TrainConfig, ...]
    refusal: str = ""
    """Why the settings are invalid, in a sentence; empty if they are valid."""


Training: TypeAlias = Placed[tuple[TrainConfig, ...], LiveResult]


def training() -> Training | None:
    """The last training of this session; its token is the configs."""
    return work.latest(PLACE)


def _snapshot(current: Training | None) -> Snapshot | None:
    return current.work.result.snapshot if current and current.work.result else None


def _trained(current: Training | None) -> LiveResult | None:
    """The result of a training that has ended; None without trained fields."""
    if current is None or current.work.live:
        return None
    result = current.work.result
    return result if result and result.fields else None


def controls() -> Settings:
    """Draws the sidebar: data set, paths, objective, coupling, network and optimiser."""
    with st.sidebar:
        data = data_picker.pick(help="The distribution that the networks learn.", sources=True)
        source, _ = datasets.parted(data)
        menu = partial(path_menus.select, source=source, help=PATH_HELP)
        left = menu("left", "First path", "ot")
        # VP diffusion cannot start from a data set.
        second, none = "trig" if source else "vp", {NONE: "none: train one path"}
        right = menu("right", "Second path", second, more=none)
        objective = state.select(
            "objective",
            "Objective",
            OBJECTIVES.labels,
            DEFAULT.objective,
            help="What the network predicts: the velocity (flow matching), the noise in a state, "
            "the score of the density or the data. Each is turned into a velocity for sampling. "
            "A flow map has a second time and also jumps: Compare shows its jumps. A distillation "
            "first follows the exact flow for about half a minute.",
        )
        two_times = OBJECTIVES[objective].two_times
        weighting = DEFAULT.weighting
        if not two_times:
            weighting = state.select(
                "weighting",
                "Weight of the loss",
                WEIGHTINGS.labels,
                DEFAULT.weighting,
                help=WEIGHTINGS.sentences(),
            )
        bridge = DEFAULT.bridge
        if source and not two_times:
            bridge = state.number(
                "bridge",
                "Diffusion of the bridges",
                *BRIDGE,
                DEFAULT.bridge,
                step=0.1,
                help="Above 0, each pair of the two data sets is joined by Brownian bridges, and "
                "two networks learn the velocity and the score of their density (SF2M, Tong et "
                "al. 2023). ODE or SDE shows the flow and the diffusion of the networks.",
            )
        coupling = state.select(
            "coupling",
            "Coupling",
            {name: COUPLING_LABELS.get(name, name) for name in (*COUPLINGS, *DATA_COUPLINGS)},
            DEFAULT.coupling,
            help="How noise and data points are paired: independently, or so that the total "
            "squared distance is minimal: within each batch, exactly or with an entropy, or "
            "between all noise and 1,024 data points (semidiscrete; the training starts some "
            "seconds later). The conditional OT path is something else: how one pair is joined.",
        )
        times = state.select(
            "times", "Times of a batch", drawn_times.LABELS, DEFAULT.times, help=drawn_times.HELP
        )
        compared = ""
        if has_means(data, coupling, objective):
            compared = state.select(
                "targets",
                "Targets",
                TARGETS.labels,
                DEFAULT.targets,
                help=TARGETS.sentences(),
            )
        steps = state.integer(
            "steps",
            "Steps",
            100,
            MAX_STEPS,
            DEFAULT.steps,
            step=500,
            help="Optimiser steps; the learning rate falls to zero at the last one.",
        )
        with st.expander("Network and optimiser"):
            numbers = _numbers()
    entries = {
        "data": data,
        "objective": objective,
        "weighting": weighting,
        "coupling": coupling,
        "bridge": bridge,
        "times": times,
        "targets": compared,
        "steps": steps,
        **numbers,
    }
    paths = (left,) if right in (NONE, left) else (left, right)
    try:
        within_batch = coupling in COUPLINGS and coupling != DEFAULT.coupling
        if within_batch and numbers["batch"] > MAX_OT_BATCH:
            raise ValueError(
                f"Minibatch and entropic OT solve a transport problem of the whole batch at every "
                f"step: the "
                f"batch must be at most {MAX_OT_BATCH:,} here; got {numbers['batch']:,}."
            )
        configs = tuple(TrainConfig(path=path, **entries) for path in paths)
    except ValueError as error:
        return Settings(data, paths, steps, (), str(error))
    return Settings(data, paths, steps, configs)


PATH_HELP = "The path from noise to data whose velocity the network learns."


def _numbers() -> dict[str, int | float | bool]:
    """The numbers of a TrainConfig."""
    width = state.integer(
        "width", "Width", 8, MAX_WIDTH, DEFAULT.width, step=32, help="Units per hidden layer."
    )
    depth = state.integer("depth", "Depth", 1, 8, DEFAULT.depth, help="Number of hidden layers.")
    return {
        "width": width,
        "depth": depth,
        "batch": state.integer(
            "batch",
            "Batch",
            16,
            MAX_BATCH,
            DEFAULT.batch,
            step=128,
            help="Pairs of noise and data per step.",
        ),
        "lr": state.number(
            "lr",
            "Learning rate",
            1e-6,
            1.0,
            default_rate(depth),
            step=5e-4,
            help="Peak value: it warms up, then falls linearly to zero.",
        ),
        "preconditioned": state.toggle(
            "preconditioned",
            "Preconditioned",
            DEFAULT.preconditioned,
            help="The network learns the residual of the best linear prediction, at unit scale "
            "(Karras et al. 2022). Off: it predicts the whole target, as in Lipman et al. 2022.",
        ),
        "seed": state.seed(
            "Seed",
            DEFAULT.seed,
            help="Of weights, data, noise and times, which are the same for both paths.",
        ),
    }


def note(settings: Settings) -> str:
    """A caption that explains the pictures; Markdown."""
    maps = any(OBJECTIVES[each.objective].two_times for each in settings.configs)
    solver = f"{JUMPS} jumps of the flow map" if maps else f"midpoint, {NFE} evaluations"
    how = f"Samples: {solver}, the averaged weights, the same noise every time."
    if maps:
        return f"{how} The loss of a flow map has no known floor: judge it by the samples."
    floor = (
        "**The floor** is the loss of the exact field, which no network can improve on; the loss "
        "minus its floor is the squared distance of the network from the exact field."
    )
    if len(settings.paths) == 1:
        return f"{floor} {how}"
    return (
        "Both networks start from the same weights and see the same data, noise and times at "
        "every step; only the path differs. **Losses of two paths are not comparable**, since "
        f"each has its own target and its own floor: compare paths by their samples. {floor} "
        f"{how}"
    )


def buttons(settings: Settings) -> None:
    """Draws Start and Cancel, and why the settings are invalid."""
    current = training()
    live = bool(current and current.work.live)
    if settings.refusal:
        st.error(
            escaped(settings.refusal[:1].upper() + settings.refusal[1:]), icon=":material/error:"
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Start training",
            type="primary",
            icon=":material/play_arrow:",
            disabled=live or not settings.configs,
            on_click=_start,
            args=(settings.configs,),
            key="train-start",
        )
        st.button(
            "Cancel",
            icon=":material/stop:",
            disabled=not live,
            on_click=_cancel,
            key="train-cancel",
        )
        allowed = 60 * limits.LONG_MINUTES()
        if not live and (seconds := estimated_seconds(settings.configs)) > allowed:
            st.caption(
                f"About {_duration(seconds)}; this server stops a training after "
                f"{_duration(allowed)} and keeps its fields."
            )
        elif current and not live and current.token != settings.configs and settings.configs:
            st.caption(
                f"Shown below: {escaped(_described(current))}. Start uses the settings of "
                + ("this step." if state.is_restricted() else "the sidebar.")
            )


def estimated_seconds(configs: tuple[TrainConfig, ...]) -> float:
    """Time that one core takes for all trainings, to a factor of about two.

    The exact assignments of minibatch OT are left out.
    """
    return sum(
        each.steps * each.batch * each.width * (each.depth * each.width + INPUTS) / SPEED
        for each in configs
    )


def board(settings: Settings) -> None:
    """Draws progress and live samples; runs again every POLL seconds during the training."""
    current = training()
    live = bool(current and current.work.live)
    st.fragment(_watched, run_every=POLL if live else None)(settings, live)


def _watched(settings: Settings, was_live: bool) -> None:
    current = training()
    st.progress(_share(current), text=_status(current, settings))
    if current and current.work.state == "failed":
        st.error(escaped(current.work.error), icon=":material/error:")
    snapshot = _snapshot(current)
    if snapshot and snapshot.trouble:
        st.warning(escaped(snapshot.trouble), icon=":material/warning:")
    monitor(_payload(current, settings), key="train-monitor")
    if was_live and not (current and current.work.live):
        st.rerun()  # the whole page once: polling ends


def _start(configs: tuple[TrainConfig, ...]) -> None:
    current = training()
    if current is None or not current.work.live:  # the second of two clicks is ignored
        work.start(PLACE, configs, partial(_train, configs), lane="long", share=False)


def _train(configs: tuple[TrainConfig, ...], progress: Progress) -> Iterator[LiveResult]:
    return train_live(configs, progress=progress)


def _cancel() -> None:
    current = training()
    if current:
        current.work.cancel()


def _share(current: Training | None) -> float:
    snapshot = _snapshot(current)
    return snapshot.step / snapshot.steps if snapshot else 0.0


def _status(current: Training | None, settings: Settings) -> str:
    if current is None:
        return f"Ready: {settings.steps:,} steps."
    seen = _snapshot(current)
    match current.work.state:
        case "waiting":
            ahead = current.work.ahead
            return f"Waiting: {ahead} ahead in the queue." if ahead else "Starting …"
        case "running" if seen and seen.rate:
            left = f" · {_duration(seen.remaining)} left" if seen.seconds > SURE_SECONDS else ""
            return f"Step {seen.step:,} of {seen.steps:,} · {seen.rate:,.0f} steps/s{left}"
        case "done" if seen:
            return f"Done: {seen.steps:,} steps in {_duration(seen.seconds)}."
        case "cancelled" if seen and seen.step and current.work.expired:
            return (
                f"Stopped after {seen.step:,} steps. {work.over(current.work)} The fields trained "
                "so far are kept; the command line has no such limit."
            )
        case "cancelled" if seen and seen.step:
            return f"Cancelled after {seen.step:,} steps; the fields trained so far are kept."
        case "cancelled":
            return "Cancelled before the first step."
        case "failed":
            return "Training failed."
    return "Preparing …"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _payload(current: Training | None, settings: Settings) -> bytes:
    """The monitor's payload, cached after the end."""
    live = bool(current and current.work.live)  # read before the snapshot, which is then final
    snapshot = _snapshot(current)
    if current is None or snapshot is None:
        data, paths, steps = settings.data, settings.paths, settings.steps
        if current is not None:
            data, steps = current.token[0].data, current.token[0].steps
            paths = _paths(current.token)
        return pack(
            None,
            run=current.work.id if current else "",
            state="empty",
            panels=[(path, scheduler(path).label) for path in paths],
            data=data_picker.points(data, DATA_POINTS),
            classes=data_picker.classes(data, DATA_POINTS),
            class_names=data_picker.dataset(data).classes,
            steps=steps,
            message="Live samples appear here." if current is None else "Preparing …",
        )
    shown: MonitorState = "live" if live else "ended"
    kept = st.session_state.get(PAYLOAD)
    if kept and kept[0] == (current.work.id, shown) and kept[1] is snapshot:
        return kept[2]
    payload = pack(
        snapshot,
        run=current.work.id,
        state=shown,
        panels=[],
        data=snapshot.data,
        classes=snapshot.classes,
        class_names=data_picker.dataset(current.token[0].data).classes,
        steps=snapshot.steps,
        message="First samples in a moment …",
    )
    st.session_state[PAYLOAD] = ((current.work.id, shown), snapshot, payload)
    return payload


def outcome(settings: Settings) -> None:
    """Draws buttons to open the trained fields in Compare, to save and to download them."""
    current = training()
    trained = _trained(current)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key="train-outcome"
    ):
        opens = st.button(
            "Open in Compare",
            icon=":material/compare:",
            disabled=not trained,
            help="Shows these fields on the page Compare, under a link that works in any browser.",
            key="train-open",
        )
        if opens and trained:
            _open_in_compare(trained)
        name = st.text_input(
            "Name of the checkpoint",
            _name(trained) if trained else "",
            max_chars=60,
            disabled=not trained,
            key=f"train-name-{current.work.id if current and trained else ''}",
            placeholder="Name of the checkpoint",
            label_visibility="collapsed",
            width=240,
        )
        saves = st.button(
            "Save",
            icon=":material/save:",
            disabled=not trained or not name.strip() or not limits.SAVED_MB(),
            help="Saves the checkpoint on the server, for all its visitors."
            if limits.SAVED_MB()
            else "This server does not save checkpoints of visitors; download it.",
            key="train-save",
        )
        if saves and trained:
            _save(trained, name.strip())
        for i, path in enumerate(_paths(current.token) if current else settings.paths):
            st.download_button(
                scheduler(path).label,
                lambda i=i: _content(trained, i, name.strip()) if trained else b"",
                f"{_file(name.strip(), trained, i)}.safetensors" if trained else "",
                "application/octet-stream",
                icon=":material/download:",
                on_click="ignore",
                disabled=not trained,
                help="Download the checkpoint: one file with the weights and their card.",
                key=f"train-download-{i}",
            )


def save_folder() -> Path:
    """The folder of saved checkpoints: $FLOWVIZ_CHECKPOINTS, or one next to the user's data."""
    first, *_, home = checkpoints.folders()
    return home if first == checkpoints.FOLDER else first


def _paths(configs: Sequence[TrainConfig]) -> tuple[str, ...]:
    return tuple(config.path for config in configs)


def _open_in_compare(trained: LiveResult) -> None:
    """Opens the Compare page by a link that has the trained fields, stored on the server."""
    paths, fields = _paths(trained.configs), trained.fields
    link = {
        "data": trained.configs[0].data,
        "field": "learned",
        **path_menus.link(left=paths[0], right=paths[-1]),
    }
    try:
        cards = [opened.keep(_content(trained, i, _name(trained))) for i in range(len(fields))]
        for card in reversed(cards):
            cache.open_checkpoint(card)
        link |= {"left-network": cards[0].name, "right-network": cards[-1].name}
    except CheckpointError:  # a full disk: the fields stay in this session
        for config, field in zip(trained.configs, fields, strict=True):
            cache.adopt(config.data, config.path, field)
    navigation.go("compare", link)


def _save(trained: LiveResult, name: str) -> None:
    folder = save_folder()
    names = [_file(name, trained, i) for i in range(len(trained.fields))]
    try:
        files = [checkpoints.file_in(folder, name) for name in names]
    except CheckpointError as error:
        st.toast(f"The checkpoint was not saved. {escaped(error)}", icon=":material/error:")
        return
    there = [file.stem for file in files if file.exists() or file.stem in cache.cards()]
    if there:
        st.toast(
            f"The checkpoint {escaped(there[0])} exists already; nothing was overwritten. "
            "Choose another name.",
            icon=":material/error:",
        )
        return
    quota = 1_000_000 * limits.SAVED_MB()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        saved = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        if saved >= quota:
            st.toast(
                "The checkpoint was not saved: the checkpoints on this server have "
                f"{saved / 1e6:.0f} of {quota / 1e6:.0f} MB ({limits.SAVED_MB.variable}). "
                "Download it.",
                icon=":material/error:",
            )
            return
        for i, (file, field) in enumerate(zip(files, trained.fields, strict=True)):
            checkpoints.save(file, field, _card(trained, i, file.stem), precision="float32")
    except CheckpointError as error:
        st.toast(f"The checkpoint was not saved. {escaped(error)}", icon=":material/error:")
        return
    except (OSError, TargetError) as error:
        st.toast(f"The checkpoint was not saved: {cause(error)}.", icon=":material/error:")
        return
    names = " and ".join(f"`{file.stem}`" for file in files)
    st.toast(f"Saved {names}.", icon=":material/check:")


def _content(trained: LiveResult, i: int, name: str) -> bytes:
    card = _card(trained, i, _file(name, trained, i))
    return checkpoints.dumps(trained.fields[i], card, precision="float32")[0]


def _card(trained: LiveResult, i: int, name: str) -> Card:
    config, seen = trained.configs[i], trained.snapshot
    return checkpoints.describe(
        name,
        asdict(config),
        data_picker.dataset(config.data),
        steps=seen.step,
        seconds=seen.seconds,
        quality=_quality(seen.traces[i]),
    )


def _quality(trace: Trace) -> dict[str, Any]:
    """The last live measurement, with its protocol."""
    if not len(trace.quality) or trace.samples is None:
        return {}
    return {
        QUALITY: round(float(trace.quality[-1]), 5),
        "nfe": NFE,
        "method": "midpoint",
        "samples": MEASURED,
    }


def _name(trained: LiveResult) -> str:
    """The default name of a checkpoint."""
    source, data = datasets.parted(trained.configs[0].data)
    return f"my-{_plain(data)}" + (f"-from-{_plain(source)}" if source else "")


def _plain(data: str) -> str:
    """A data set in the name of a file."""
    kind, _, text = data.partition(":")
    plain = re.sub(r"[^A-Za-z0-9]+", "-", text if kind == "word" else kind).strip("-")
    return plain or kind


def _file(name: str, trained: LiveResult, i: int) -> str:
    path = trained.configs[i].path.split(":")[0]
    return f"{name}-{path}"


def _described(current: Training) -> str:
    config = current.token[0]
    labels = " and ".join(scheduler(path).label for path in _paths(current.token))
    return f"{labels} on {data_picker.dataset(config.data).label}, {config.steps:,} steps"


def figures() -> None:
    """The curves of a finished training, as figures to read, zoom and export."""
    current = training()
    seen = None if current is None or current.work.live else _snapshot(current)
    if current is None or seen is None or not seen.step:
        return
    st.subheader("Training curves")
    known = all(trace.excess is not None for trace in seen.traces)
    left, right = st.columns(2)
    with left:
        _curve(current, seen, "excess" if known else "loss")
    with right:
        _curve(current, seen, "quality")


def _curve(current: Training, seen: Snapshot, what: str) -> None:
    dark = is_dark()
    metric = METRICS[QUALITY].label
    x_of = {"excess": "probe_steps", "loss": "steps", "quality": "quality_steps"}[what]
    y_of = {"excess": "excess", "loss": "smoothed", "quality": "quality"}[what]
    title = {"excess": "loss − irreducible floor", "loss": "loss", "quality": metric}[what]
    lines = [
        curves.Curve(
            label=trace.label,
            colour=theme.path_colour(trace.path, dark=dark),
            x=getattr(trace, x_of),
            y=getattr(trace, y_of),
            floor={"excess": None, "loss": trace.floor, "quality": seen.data_quality}[what],
        )
        for trace in seen.traces
    ]
    figure.show(
        curves.curves(
            lines,
            x_title="training step",
            y_title=title,
            floor_label="two samples of the data" if what == "quality" else "irreducible floor",
            log_y=True,
            dark=dark,
        ),
        f"train-{what}",
        title=f"{title} of {_described(current)}",
        alt=f"{title} over training steps: "
        + "; ".join(f"{line.label} ends at {line.y[-1]:.3g}" for line in lines if len(line.y)),
        files=[
            downloads.csv(
                asdict(current.token[0]) | {"path": ", ".join(_paths(current.token))},
                lambda: _columns(lines),
            )
        ],
        filename=f"training-{what}",
    )


def _columns(lines: list[curves.Curve]) -> dict[str, NDArray]:
    """The lines below each other: path, step and value."""
    return {
        "path": np.concatenate([np.full(len(line.x), line.label) for line in lines]),
        "step": np.concatenate([line.x for line in lines]),
        "value": np.concatenate([line.y for line in lines]),
    }
