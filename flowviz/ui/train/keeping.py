"""The trained fields: open them in Compare, save them on the server, download them."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz import checkpoints, datasets
from flowviz.checkpoints import Card, CheckpointError, opened
from flowviz.experiments.live import MEASURED, QUALITY, LiveResult, Trace, sampler
from flowviz.fields import FlowMap
from flowviz.files import TargetError, cause
from flowviz.schedulers import scheduler
from flowviz.ui import cache, data_picker, limits, navigation
from flowviz.ui import paths as path_menus
from flowviz.ui.notices import escaped
from flowviz.ui.train.running import paths_of, trained_by, training
from flowviz.ui.train.settings import Settings


def outcome(settings: Settings) -> None:
    """Draws buttons to open the trained fields in Compare, to save and to download them."""
    current = training()
    trained = trained_by(current)
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key="train-outcome"
    ):
        opens = st.button(
            "Open in Compare",
            icon=":material/compare:",
            disabled=not trained,
            help="Shows these networks on the page Compare, by a link that works in any browser.",
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
        for i, path in enumerate(paths_of(current.token) if current else settings.paths):
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


def _open_in_compare(trained: LiveResult) -> None:
    """Opens the Compare page by a link that has the trained fields, stored on the server."""
    paths, fields = paths_of(trained.configs), trained.fields
    link = {
        "data": trained.configs[0].data,
        "field": "learned",
        **path_menus.link(left=paths[0], right=paths[-1]),
    }
    if isinstance(fields[0], FlowMap):  # as its live samples
        settings = sampler(jumps=True)
        link |= {"solver": settings["method"], "nfe": str(settings["nfe"])}
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
    existing = [file.stem for file in files if file.exists() or file.stem in cache.cards()]
    if existing:
        st.toast(
            f"The checkpoint {escaped(existing[0])} exists already; nothing was overwritten. "
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
    config, snapshot = trained.configs[i], trained.snapshot
    return checkpoints.describe(
        name,
        asdict(config),
        data_picker.dataset(config.data),
        steps=snapshot.step,
        seconds=snapshot.seconds,
        quality=_quality(snapshot.traces[i], jumps=isinstance(trained.fields[i], FlowMap)),
    )


def _quality(trace: Trace, *, jumps: bool) -> dict[str, Any]:
    """The last live measurement, with its protocol; `jumps` of a flow map."""
    if not len(trace.quality) or trace.samples is None:
        return {}
    return {
        QUALITY: round(float(trace.quality[-1]), 5),
        **sampler(jumps),
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
