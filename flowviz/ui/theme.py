"""Style rules in addition to Streamlit's theme, and whether the theme is dark."""

from pathlib import Path

import streamlit as st

ICON = str(Path(__file__).with_name("icon.svg"))
"""File of the icon of the browser's tab."""

_CSS = Path(__file__).with_name("pages.css").read_text(encoding="utf-8")


def dress() -> None:
    """Applies rules that Streamlit's theme does not support; app.py calls it once per run."""
    st.html(f"<style>{_CSS}</style>")


def is_dark() -> bool:
    """Whether the visitor's theme is dark."""
    return st.context.theme.type == "dark"
