"""Whose images: our own checkpoints, other people's files on the server's disk, and uploads."""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st

from flowviz.checkpoints import CheckpointError
from flowviz.checkpoints.foreign import (
    MAX_UPLOAD,
    ForeignCheckpoint,
    foreign_files,
    load_any,
    load_foreign_bytes,
)
from flowviz.checkpoints.images import (
    ImageCard,
    ImageCheckpoint,
    image_checkpoints,
    is_images,
    load_images,
    locate_images,
    read_quality,
)
from flowviz.datasets.images import IMAGE_SETS
from flowviz.device import choose_device
from flowviz.figures import theme
from flowviz.schedulers import scheduler
from flowviz.ui.cache import LISTED_SECONDS, pass_over

__all__ = ["MISSING", "Source", "cards", "load", "names", "opener", "quality"]

HELD = "uploads:images"
"""Where the session keeps what it uploaded, by name, the newest last."""

MOST_HELD = 3
"""Uploads that a session keeps; each may take MAX_UPLOAD bytes of memory or more."""

SUFFIXES = ["safetensors", "pt", "pth", "ckpt", "bin"]

MISSING = (
    "**There is no checkpoint of images on this server yet**: train one "
    "(`python -m flowviz train --data cifar10 --preset small --path ot --out NAME`, then "
    "`python -m flowviz pack NAME --out checkpoints/images/NAME`), put a file into a folder named "
    "in `FLOWVIZ_CHECKPOINTS`, or open one in the sidebar."
)
"""What to do on a fresh clone."""


@dataclass(frozen=True)
class Source:
    """A checkpoint that is ready to draw.

    Attributes:
        name: in menus and links.
        key: tells its weights from all others'.
        loaded: the checkpoint, where it comes from and what was assumed.
        label: what tells it from the other side where both are on one path; else "".
    """

    name: str
    key: str
    loaded: ForeignCheckpoint
    label: str = ""

    @property
    def checkpoint(self) -> ImageCheckpoint:
        """Its field and its card."""
        return self.loaded.checkpoint

    @property
    def card(self) -> ImageCard:
        """Its card."""
        return self.checkpoint.card

    @property
    def path(self) -> str:
        """The label of its path, or its own where that does not tell the sides apart."""
        return self.label or scheduler(self.card.path).label

    @property
    def colours(self) -> tuple[str, str]:
        """Of its path, in the light and in the dark theme."""
        return theme.path_colour(self.card.path), theme.path_colour(self.card.path, dark=True)

    @property
    def progress(self) -> str:
        """How far the training went: "0.24 of 3.00 M training images"; "" where nobody knows."""
        card = self.card
        if not card.images:
            return ""
        of = f" of {card.planned / 1e6:.2f}" if card.planned > card.images else ""
        return f"{card.images / 1e6:.2f}{of} M training images"


@st.cache_data(ttl=LISTED_SECONDS, show_spinner=False)
def _listing() -> tuple[dict[str, ImageCard], list[str], list[str]]:
    damages: list[str] = []
    found = image_checkpoints(lambda error: damages.append(str(error)))
    return {card.name: card for card in found if card.kind == "field"}, [*foreign_files()], damages


def cards() -> dict[str, ImageCard]:
    """The cards of our own fields of images; a damaged file is passed over with one notice."""
    found, _, damages = _listing()
    pass_over(damages)
    return found


def names() -> dict[str, str]:
    """What can be chosen, by name with its label: ours, other people's, this session's uploads."""
    own, foreign, _ = _listing()
    uploads: dict[str, Source] = st.session_state.get(HELD, {})
    menu = {name: name for name in own}
    menu |= {name: f"{name} (file)" for name in foreign if name not in menu}
    return menu | {name: f"{name} (upload)" for name in uploads if name not in menu}


def load(name: str) -> Source:
    """The checkpoint of a name of `names`.

    Raises:
        CheckpointError: it is damaged or of no known kind, in one sentence.
    """
    uploads: dict[str, Source] = st.session_state.get(HELD, {})
    own, foreign, _ = _listing()
    if name in uploads and name not in own and name not in foreign:
        return uploads[name]
    path = locate_images(name) if name in own else foreign_files().get(name)
    if path is None:
        raise CheckpointError(f"There is no checkpoint of images {name!r} any more.")
    newest = max(file.stat().st_mtime_ns for file in [path, *path.glob("*")])
    return _loaded(name, str(path), newest)


@st.cache_resource(max_entries=8, show_spinner="Reading the checkpoint")
def _loaded(name: str, path: str, newest: int) -> Source:
    loaded = load_any(path)
    key = loaded.checkpoint.card.sha256 or f"{path}@{newest}"
    return Source(name, key, _placed(loaded))


def quality(source: Source) -> dict[str, Any]:
    """The measurements stored beside a checkpoint of ours; empty without any.

    Raises:
        CheckpointError: they are damaged or of other weights.
    """
    return read_quality(source.name) if source.name in _listing()[0] else {}


def opener() -> None:
    """The sidebar's box for a file of one's own, below the controls of a view.

    A file that will not do is refused in one sentence and changes nothing.
    """
    with st.sidebar, st.expander("Open another checkpoint", icon=":material/folder_open:"):
        _uploader()


def _uploader() -> None:
    file = st.file_uploader(
        "Open a checkpoint of images",
        SUFFIXES,
        key="images:file",
        max_upload_size=MAX_UPLOAD // 2**20,
        help="flowviz's own (.safetensors), torchcfm's CIFAR-10 weights or those of "
        "flow_matching's image example, told apart by the names of their tensors. Nothing in a "
        "file is executed. Larger files and folders of diffusers' UNet2DModel go into a folder "
        "named in FLOWVIZ_CHECKPOINTS on the server.",
    )
    if file is None:
        return
    uploads: dict[str, Source] = st.session_state.setdefault(HELD, {})
    refused: dict[str, str] = st.session_state.setdefault("refused:images", {})
    if file.file_id not in refused:
        try:
            source = _opened(file.name, file.getvalue())
        except (CheckpointError, ValueError) as error:
            refused[file.file_id] = str(error)
        except (MemoryError, OSError):
            refused[file.file_id] = (
                f"{file.name} is larger than this server can hold now; put it into a folder named "
                "in FLOWVIZ_CHECKPOINTS, or try again later."
            )
        else:
            refused[file.file_id] = ""
            uploads.pop(source.name, None)
            uploads[source.name] = source
            while len(uploads) > MOST_HELD:
                del uploads[next(iter(uploads))]
            st.rerun()  # whose menus lie above
    if refused[file.file_id]:
        st.error(refused[file.file_id], icon=":material/error:")
    elif opened := uploads.get(_free_name(file.name)):
        st.caption(f"**{opened.name}** is in the menus now. {opened.loaded.about}")


def _free_name(file_name: str) -> str:
    """The name of an upload in the menus: that of its file, which none on the server may have."""
    name = Path(file_name).name
    own, foreign, _ = _listing()
    return f"uploaded {name}" if name in own or name in foreign else name


def _opened(name: str, content: bytes) -> Source:
    """The checkpoint in an uploaded file, ours or another's."""
    name = Path(name).name
    with tempfile.TemporaryDirectory() as folder:
        # Errors say its name, of which a file system takes only so much.
        path = Path(folder) / f"{Path(name).stem[:60]}.safetensors"
        path.write_bytes(content)
        if is_images(path):
            loaded = ForeignCheckpoint(load_images(path), "flowviz", "flowviz's own checkpoint.")
        else:
            loaded = load_foreign_bytes(content, name)
    return Source(_free_name(name), hashlib.sha256(content).hexdigest(), _placed(loaded))


def _placed(loaded: ForeignCheckpoint) -> ForeignCheckpoint:
    """The checkpoint on the device that samples, with the class names of its image set."""
    card = loaded.checkpoint.card
    classes = IMAGE_SETS[card.data].classes if card.data in IMAGE_SETS else ()
    if classes and len(card.classes) == len(classes):
        checkpoint = replace(loaded.checkpoint, card=replace(card, classes=classes))
        loaded = replace(loaded, checkpoint=checkpoint)
    device = choose_device()
    if device.type == "cuda":  # other accelerators lack float64, in which times are kept
        loaded.checkpoint.field.to(device)
    return loaded
