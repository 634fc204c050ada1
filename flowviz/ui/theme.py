"""The look of the pages beyond Streamlit's theme, and which theme the visitor sees."""

from pathlib import Path

import streamlit as st

__all__ = ["dress", "is_dark"]

_CSS = Path(__file__).with_name("pages.css").read_text(encoding="utf-8")


def dress() -> None:
    """Applies the few rules that Streamlit's theme cannot state; app.py calls it once a run."""
    st.html(f"<style>{_CSS}</style>")


def is_dark() -> bool:
    """Whether the page is dark, so that Plotly figures are drawn to match."""
    return st.context.theme.type == "dark"
