"""Escapes untrusted text, so that Markdown, HTML or LaTeX in it is shown as plain text."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

BREAK = "\N{ZERO WIDTH SPACE}"
MAX_LENGTH = 300
"""Largest number of characters of a message."""
UNBRACKETED = re.compile(
    r":(?=[a-z/]|[\w+-]+:)|(?<=www)(?=\.)|@(?=[\w.-]*\.[\w-]*[a-z])", re.IGNORECASE
)
"""Where a directive or an emoji such as ":100:", a URL or a mail address begins, which are markup
without brackets."""


def escaped(text: object, limit: int | None = MAX_LENGTH) -> str:
    """A text for Streamlit's Markdown in which nothing is markup.

    File names, URL parameters, errors and findings may contain untrusted text, with images and
    links that a visitor's browser would load.

    Args:
        text: what to show.
        limit: largest number of characters; None for all.
    """
    result = str(text)
    if limit is not None and len(result) > limit:
        result = f"{result[: limit - 1]}…"
    result = re.sub(r"([\\`*_{}\[\]<>$~|#])", r"\\\1", result)
    return UNBRACKETED.sub(lambda m: f"{m.group()}{BREAK}", result)


def failed(error: object, context: str = "") -> None:
    """Shows an error notice.

    Args:
        error: its message is the reason.
        context: one sentence before it, such as "This flow cannot be shown."
    """
    st.error(f"{context} {escaped(error)}".strip(), icon=":material/error:")


@contextmanager
def failing(context: str = "") -> Iterator[None]:
    """Shows a ValueError of the block as an error notice, see `failed`; then the page goes on."""
    try:
        yield
    except ValueError as error:
        failed(error, context)
