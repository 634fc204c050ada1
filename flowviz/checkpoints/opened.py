"""Checkpoints that visitors trained or opened, stored under the hash of their file.

Their links work in any browser until newer files take their place. They are found by name, as all
checkpoints are, but no listing has them.
"""

import hashlib

from flowviz.checkpoints.cards import Card
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.plain import PlainAssumptions, load_plain, with_samples
from flowviz.checkpoints.lookup import OPENED, opened_file, read_card
from flowviz.checkpoints.weights import dumps, load_bytes
from flowviz.files import mark_used, storing, write_bytes

MAX_STORED = 300_000_000
"""The maximum size of all stored files in bytes, about 1,000 of the networks that pages train."""


def keep(content: bytes, source: str = "upload.safetensors") -> Card:
    """Stores the bytes of a checkpoint of the plane; the card has the new name, open-HASH.

    Raises:
        CheckpointError: the bytes are no checkpoint of flowviz, or the disk is full or read-only.
    """
    load_bytes(content, name=source)
    file = opened_file(f"open-{hashlib.sha256(content).hexdigest()[:16]}")
    with storing(file, "open-*.safetensors", MAX_STORED, _not_stored):
        write_bytes(file, content)
    return read_card(file)


def keep_plain(content: bytes, source: str, assume: PlainAssumptions) -> Card:
    """Stores a plain network of another project as a checkpoint of flowviz; see `keep`.

    Raises:
        CheckpointError: the file holds no such network, or nothing can be stored.
    """
    found = with_samples(load_plain(content, source, assume))
    return keep(dumps(found.field, found.card, precision="float32")[0], source)


def _not_stored(why: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint must be stored on this server, but was not: {why}. Ask its operator."
    )


def recall(name: str) -> Card | None:
    """The card of a stored checkpoint; None if the name is of another kind or no longer stored."""
    if not OPENED.fullmatch(name):
        return None
    file = opened_file(name)
    try:
        card = read_card(file)
    except CheckpointError:
        return None
    mark_used(file)
    return card
