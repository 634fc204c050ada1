"""Text of others on a page: it stays text, whatever Markdown, HTML or LaTeX it contains."""

import re

import streamlit as st

__all__ = ["MAX_LENGTH", "escaped", "failed"]

BREAK = "\N{ZERO WIDTH SPACE}"
MAX_LENGTH = 300
"""Number of characters of a message; the rest is cut off."""


def escaped(text: object, limit: int | None = MAX_LENGTH) -> str:
    """A text for Streamlit's Markdown in which nothing is markup.

    Names of files, words of a link, errors and findings may contain the text of a stranger, with
    images and links that a visitor's browser would load.

    Args:
        text: what to show.
        limit: number of characters that are kept; None for all.
    """
    plain = str(text)
    if limit is not None and len(plain) > limit:
        plain = f"{plain[: limit - 1]}…"
    plain = re.sub(r"([\\`*_{}\[\]<>$~|#])", r"\\\1", plain)
    # Directives such as ":material/name:" and addresses, which become links without any brackets.
    return re.sub(r"(?i):(?=[a-z/])|(?<=www)(?=\.)", lambda m: f"{m.group()}{BREAK}", plain)


def failed(what: str, error: Exception) -> None:
    """A notice that something cannot be shown, with the error's sentence.

    Args:
        what: one sentence, such as "This flow cannot be shown."
        error: its message is the reason.
    """
    st.error(f"{what} {escaped(error)}", icon=":material/error:")
