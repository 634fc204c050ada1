"""Which theme the visitor sees."""

import streamlit as st

__all__ = ["is_dark"]


def is_dark() -> bool:
    """Whether the page is dark, so that Plotly figures are drawn to match."""
    return st.context.theme.type == "dark"
