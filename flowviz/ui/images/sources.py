"""Checkpoints of images: those of flowviz, files of other projects on the server, and uploads."""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.foreign import (
    MAX_UPLOAD,
    Assumptions,
    ForeignCheckpoint,
    foreign_files,
    load_any,
    load_foreign_bytes,
)
from flowviz.checkpoints.images import (
    ImageCard,
    image_checkpoints,
    is_images,
    load_images,
    locate_images,
)
from flowviz.objectives import OBJECTIVES
from flowviz.schedulers import SCHEDULERS
from flowviz.studies._images import on_device
from flowviz.ui import limits, state, widgets
from flowviz.ui.cache import LISTED_SECONDS, notify_damages
from flowviz.ui.notices import escaped, failed

HELD = "uploads:images"
"""Where the session keeps its uploads, by name, the newest last."""
REFUSED = "refused:images"
"""Where the session keeps why a file was refused, by file and assumptions; "" if it was read."""
MAX_HELD = 3
"""Uploads that a session keeps, within FLOWVIZ_UPLOAD_MB together."""
MAX_SIZE = 1_024
"""Largest height and width of images that a user can state."""

SUFFIXES = ["safetensors", "pt", "pth", "ckpt", "bin"]
USUAL = Assumptions()

MISSING = (
    "**There is no checkpoint of images on this server yet**: train one "
    "(`python -m flowviz train --data cifar10 --preset small --path ot --out NAME`, then "
    "`python -m flowviz pack NAME --out checkpoints/images/NAME`), put a file into a folder named "
    "in `FLOWVIZ_CHECKPOINTS`, or open one in the sidebar."
)
"""What to do on a fresh clone."""


@dataclass(frozen=True)
class Source:
    """A loaded checkpoint: its name in menus and links, and its name in configs, NAME@HASH.

    `size` is the number of bytes of an upload.
    """

    name: str
    key: str
    loaded: ForeignCheckpoint
    size: int = 0


@st.cache_data(ttl=LISTED_SECONDS, show_spinner=False)
def _listing() -> tuple[dict[str, ImageCard], list[str], list[str]]:
    damages: list[str] = []
    all_cards = image_checkpoints(lambda error: damages.append(str(error)))
    return (
        {card.name: card for card in all_cards if card.kind == "field"},
        [*foreign_files()],
        damages,
    )


def cards() -> dict[str, ImageCard]:
    """The cards of flowviz's own fields of images; a damaged file is skipped with one notice."""
    listed, _, damages = _listing()
    notify_damages(damages)
    return listed


def names() -> dict[str, str]:
    """The labels of all checkpoints by name: flowviz's, other files, this session's uploads."""
    own_cards, foreign, _ = _listing()
    menu = {name: name for name in own_cards}
    menu |= {name: f"{name} (file)" for name in foreign if name not in menu}
    return menu | {name: f"{name} (upload)" for name in _uploads() if name not in menu}


def _uploads() -> dict[str, Source]:
    return st.session_state.setdefault(HELD, {})


def load(name: str) -> Source:
    """The checkpoint of a name of `names`.

    Raises:
        CheckpointError: it is damaged or of no known kind, in one sentence.
    """
    own_cards, foreign, _ = _listing()
    if name in _uploads() and name not in own_cards and name not in foreign:
        return _uploads()[name]
    path = locate_images(name) if name in own_cards else foreign_files().get(name)
    if path is None:
        raise CheckpointError(f"There is no checkpoint of images {name!r} any more.")
    # Stored measurements are part of what studies show of a checkpoint.
    files = [path, *path.glob("*"), path.with_suffix(".quality.json")]
    newest = max(file.stat().st_mtime_ns for file in files if file.exists())
    return _loaded(name, str(path), newest)


@st.cache_resource(max_entries=8, show_spinner="Reading the checkpoint")
def _loaded(name: str, path: str, newest: int) -> Source:
    opened, content = load_any(path), f"{path}@{newest}"
    if weights := opened.checkpoint.card.sha256:  # the same on every machine, as shipped answers
        quality_file = Path(path).with_suffix(".quality.json")
        content = weights + (quality_file.read_text() if quality_file.exists() else "")
    return _source(name, content.encode(), opened)


def _source(name: str, content: bytes, loaded: ForeignCheckpoint) -> Source:
    key = f"{name}@{hashlib.sha256(content).hexdigest()[:16]}"
    return Source(name, key, on_device(loaded))


def opener() -> None:
    """The sidebar's box for a file of the user, below the controls of a view; not in a lecture.

    A file that cannot be read is refused in one sentence and changes nothing.
    """
    if state.is_restricted():
        return
    with st.sidebar, st.expander("Open another checkpoint", icon=":material/folder_open:"):
        _uploader()


def _uploader() -> None:
    file = st.file_uploader(
        "Open a checkpoint of images",
        SUFFIXES,
        key="images:file",
        max_upload_size=MAX_UPLOAD // 2**20,
        help="flowviz's own (.safetensors), torchcfm's CIFAR-10 weights or those of "
        "flow_matching's image example, recognised by the names of their tensors. Nothing in a "
        "file is executed. Larger files and folders of diffusers' UNet2DModel go into a folder "
        "named in FLOWVIZ_CHECKPOINTS on the server.",
    )
    if file is None:
        return
    opened = _uploads().get(_free_name(file.name))
    refused: dict[Any, str] = st.session_state.setdefault(REFUSED, {})
    assume = st.session_state.get(f"assumed:{file.file_id}", USUAL)
    if (file.file_id, assume) not in refused:
        refused[file.file_id, assume] = _try(file, assume)
        if not refused[file.file_id, assume]:
            st.rerun()  # the menus above list it
    if reason := refused[file.file_id, assume]:
        failed(reason)
    elif opened:
        text = escaped(opened.loaded.notes, limit=None)
        st.caption(f"**{escaped(opened.name)}** is in the menus now. {text}")
    if opened is None or opened.loaded.origin != "flowviz":
        _assumptions(file.file_id, assume)


def _try(file: Any, assume: Assumptions) -> str:
    """Reads an upload into the session; returns why it was refused, or ""."""
    try:
        source = _opened(file.name, file.getvalue(), assume)
    except ValueError as error:
        return str(error)
    except (MemoryError, OSError):
        return (
            f"{Path(file.name).name[:60]} is larger than this server can hold now; put it into a "
            "folder named in FLOWVIZ_CHECKPOINTS, or try again later."
        )
    uploads = _uploads()
    uploads.pop(source.name, None)
    uploads[source.name] = source
    quota = limits.UPLOAD_MB() * 1_000_000
    while len(uploads) > MAX_HELD or (
        len(uploads) > 1 and sum(each.size for each in uploads.values()) > quota
    ):
        del uploads[next(iter(uploads))]
    return ""


def _assumptions(file_id: str, assume: Assumptions) -> None:
    """Controls that correct what is assumed about a file of another project."""
    as_assumed = {"": "as assumed"}
    with st.form(f"images:assume-{file_id}", border=False):
        st.markdown("Correct what is assumed:")
        values = {
            "weights": st.text_input("Set of weights", assume.weights or "", max_chars=100),
            "path": widgets.menu("Path", as_assumed | SCHEDULERS.labels, assume.path or ""),
            "predicts": widgets.menu(
                "The network predicts",
                as_assumed | {key: key for key, each in OBJECTIVES.items() if not each.two_times},
                assume.predicts or "",
            ),
            "size": st.number_input(
                "Image size in pixels (0: as assumed)", 0, MAX_SIZE, assume.size or 0
            ),
        }
        reversed = st.checkbox("Data at t = 0, noise at t = 1", assume.time_reversed)
        if st.form_submit_button("Read again"):
            chosen_values = {name: value or None for name, value in values.items()}
            chosen = Assumptions(**chosen_values, time_reversed=reversed)
            st.session_state[f"assumed:{file_id}"] = chosen
            st.rerun()


def _free_name(file_name: str) -> str:
    """The name of an upload in the menus: its file's, unless the server has one of that name."""
    name = Path(file_name).name
    own_cards, foreign, _ = _listing()
    return f"uploaded {name}" if name in own_cards or name in foreign else name


def _opened(name: str, content: bytes, assume: Assumptions = USUAL) -> Source:
    """The checkpoint in an uploaded file, of flowviz or another project."""
    name = Path(name).name
    with tempfile.TemporaryDirectory() as folder:
        # Errors state this name; a file system limits its length.
        path = Path(folder) / f"{Path(name).stem[:60]}.safetensors"
        path.write_bytes(content)
        if is_images(path):
            loaded = ForeignCheckpoint(load_images(path), "flowviz", "flowviz's own checkpoint.")
        else:
            loaded = load_foreign_bytes(content, name, assume)
    source = _source(_free_name(name), content + repr(assume).encode(), loaded)
    return replace(source, size=len(content))
