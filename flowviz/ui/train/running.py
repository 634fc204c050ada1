"""The running training: start, cancel, progress and live samples."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TypeAlias

import streamlit as st

from flowviz.experiments.live import LiveResult, Snapshot, train_live
from flowviz.progress import Progress
from flowviz.schedulers import scheduler
from flowviz.training import TrainConfig
from flowviz.training.plane import has_floor
from flowviz.ui import data_picker, limits, state, work
from flowviz.ui.monitor import MonitorState, monitor, pack
from flowviz.ui.notices import escaped, failed
from flowviz.ui.train.settings import Settings
from flowviz.ui.work import Placed

PLACE = "train"
PAYLOAD = "payload:train"
"""Session state: the last payload, apart from the controls, which a lecture resets."""
POLL = 1.0
"""Seconds between two updates of the page during a training."""
SURE_SECONDS = 5.0
"""Time before the first estimate of the remaining time."""
DATA_POINTS = 1_500
INPUTS = 70
"""About the number of inputs of a network: coordinates and sines of the time and of them."""
SPEED = 1e10
"""Weights times samples that a core trains in a second: 364 steps/s of 3 x 128 at batch 512."""

Training: TypeAlias = Placed[tuple[TrainConfig, ...], LiveResult]


def training() -> Training | None:
    """The last training of this session; its token is the configs."""
    return work.latest(PLACE)


def snapshot_of(current: Training | None) -> Snapshot | None:
    """The newest snapshot of a training; None before the first."""
    return current.work.result.snapshot if current and current.work.result else None


def trained_by(current: Training | None) -> LiveResult | None:
    """The result of a training that has ended; None without trained fields."""
    if current is None or current.work.live:
        return None
    result = current.work.result
    return result if result and result.fields else None


def paths_of(configs: Sequence[TrainConfig]) -> tuple[str, ...]:
    """The paths of the trainings."""
    return tuple(config.path for config in configs)


def trainings(settings: Settings) -> tuple[TrainConfig, ...]:
    """The trainings that the page shows: the last of this session, or those of the sidebar."""
    current = training()
    return settings.configs if current is None else current.token


def described(current: Training) -> str:
    """The paths, data set and number of steps of a training, in a few words."""
    config = current.token[0]
    labels = " and ".join(scheduler(path).label for path in paths_of(current.token))
    return f"{labels} on {data_picker.dataset(config.data).label}, {config.steps:,} steps"


def buttons(settings: Settings) -> None:
    """Draws Start and Cancel, and why the settings are invalid."""
    current = training()
    live = bool(current and current.work.live)
    if settings.refusal:
        failed(settings.refusal[:1].upper() + settings.refusal[1:])
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
                f"About {work.duration(seconds)}; this server stops a training after "
                f"{work.duration(allowed)} and keeps its networks."
            )
        elif current and not live and current.token != settings.configs and settings.configs:
            st.caption(
                f"Shown below: {escaped(described(current))}. Start uses the settings of "
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
    st.fragment(_progress_and_samples, run_every=POLL if live else None)(settings, live)


def _progress_and_samples(settings: Settings, was_live: bool) -> None:
    current = training()
    st.progress(_share(current), text=_status(current, settings))
    if current and current.work.state == "failed":
        failed(current.work.error)
    snapshot = snapshot_of(current)
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
    snapshot = snapshot_of(current)
    return snapshot.step / snapshot.steps if snapshot else 0.0


def _status(current: Training | None, settings: Settings) -> str:
    if current is None:
        return f"Ready: {settings.steps:,} steps."
    snapshot = snapshot_of(current)
    match current.work.state:
        case "waiting":
            ahead = current.work.ahead
            return f"Waiting: {ahead} ahead in the queue." if ahead else "Starting …"
        case "running" if snapshot and snapshot.rate:
            status = f"Step {snapshot.step:,} of {snapshot.steps:,} · {snapshot.rate:,.0f} steps/s"
            is_sure = snapshot.seconds > SURE_SECONDS
            return f"{status} · {work.duration(snapshot.remaining)} left" if is_sure else status
        case "done" if snapshot:
            return f"Done: {snapshot.steps:,} steps in {work.duration(snapshot.seconds)}."
        case "cancelled" if snapshot and snapshot.step and current.work.expired:
            return (
                f"Stopped after {snapshot.step:,} steps. {work.limit_sentence(current.work)} The "
                "networks trained so far are kept; the command line has no such limit."
            )
        case "cancelled" if snapshot and snapshot.step:
            return (
                f"Cancelled after {snapshot.step:,} steps; the networks trained so far are kept."
            )
        case "cancelled":
            return "Cancelled before the first step."
        case "failed":
            return "Training failed."
    return "Preparing …"


def _payload(current: Training | None, settings: Settings) -> bytes:
    """The monitor's payload, cached after the end."""
    live = bool(current and current.work.live)  # read before the snapshot, which is then final
    snapshot, run = snapshot_of(current), current.work.id if current else ""
    monitor_state: MonitorState = "empty" if snapshot is None else "live" if live else "ended"
    cached = st.session_state.get(PAYLOAD)
    if cached and cached[0] == (run, monitor_state) and cached[1] is snapshot:
        return cached[2]
    data, paths, steps = settings.data, settings.paths, settings.steps
    if current is not None:
        data, steps = current.token[0].data, current.token[0].steps
        paths = paths_of(current.token)
    payload = pack(
        snapshot,
        run=run,
        state=monitor_state,
        panels=[(path, scheduler(path).label) for path in paths],
        data=snapshot.data if snapshot else data_picker.points(data, DATA_POINTS),
        classes=snapshot.classes if snapshot else data_picker.classes(data, DATA_POINTS),
        class_names=data_picker.dataset(data).classes,
        steps=steps,
        floor=all(map(has_floor, trainings(settings))),
        message="First samples in a moment …"
        if snapshot
        else "Preparing …"
        if current
        else "Live samples appear here.",
    )
    if snapshot is not None:
        st.session_state[PAYLOAD] = ((run, monitor_state), snapshot, payload)
    return payload
