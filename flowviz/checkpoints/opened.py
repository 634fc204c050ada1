"""Checkpoints that visitors trained or opened, stored under the hash of their file.

Their links work in any browser until newer files take their place. They are found by name, as all
checkpoints are, but no listing has them.
"""

import hashlib

from flowviz.bounds import shortened, shown
from flowviz.checkpoints.cards import Card
from flowviz.checkpoints.container import check_size
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.plain import PlainAssumptions, load_plain, with_samples
from flowviz.checkpoints.lookup import OPENED, opened_file, read_card
from flowviz.checkpoints.weights import MAX_BYTES, dumps, load_bytes
from flowviz.datasets import dataset, is_linkable
from flowviz.files import mark_used, storing, write_bytes

MAX_STORED = 300_000_000
"""The maximum size of all stored files in bytes, about 1,000 of the networks that pages train."""


def keep(content: bytes, source: str = "upload.safetensors") -> Card:
    """Stores the bytes of a checkpoint of the plane; the card has the new name, open-HASH.

    Raises:
        CheckpointError: the bytes are no checkpoint of flowviz, its data set is not on this
            server, or the disk is full or read-only.
    """
    _check_data(load_bytes(content, name=source).card, source)
    file = opened_file(f"open-{hashlib.sha256(content).hexdigest()[:16]}")
    with storing(file, "open-*.safetensors", MAX_STORED, _not_stored):
        write_bytes(file, content)
    return read_card(file)


def keep_plain(content: bytes, source: str, assume: PlainAssumptions) -> Card:
    """Stores a plain network of another project as a checkpoint of flowviz; see `keep`.

    Raises:
        CheckpointError: the file holds no such network, or nothing can be stored.
    """
    loaded = load_plain(content, source, assume)
    check_size(4 * loaded.card.weights, f"{source} in float32", MAX_BYTES)
    with_data = with_samples(loaded)
    return keep(dumps(with_data.field, with_data.card, precision="float32")[0], source)


def _not_stored(why: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint must be stored on this server, but was not: {why}. Ask its operator."
    )


def _check_data(card: Card, source: str) -> None:
    """Refuses a checkpoint whose data set a page cannot show.

    Raises:
        CheckpointError: no link can name the data set, or it is not stored on this server.
    """
    if not is_linkable(card.data):
        raise CheckpointError(
            f"{source} was trained on {shown(card.data)}, which a page cannot show. Upload these "
            "data on the page first and train on the data set that its link then names."
        )
    try:
        dataset(card.data, sources=True)
    except ValueError as error:
        raise CheckpointError(shortened(f"{source} needs its data set. {error}")) from error


def recall(name: str) -> Card | None:
    """The card of a stored checkpoint; None if the name is of another kind, or it cannot be used.

    It cannot once the file or its data set have made room for newer ones.
    """
    if not OPENED.fullmatch(name):
        return None
    file = opened_file(name)
    try:
        card = read_card(file)
        _check_data(card, name)
    except CheckpointError:
        return None
    mark_used(file)
    return card
