"""Style rules in addition to Streamlit's theme, and whether the theme is dark."""

from pathlib import Path

import streamlit as st

from flowviz.canvases import tokens
from flowviz.ui.canvas import component, listen

ICON = str(Path(__file__).with_name("icon.svg"))
"""File of the icon of the browser's tab."""

_CSS = tokens() + Path(__file__).with_name("pages.css").read_text(encoding="utf-8")
_scheme = component("flowviz_scheme", "scheme")


def dress(*, sidebar: bool) -> None:
    """Applies rules that Streamlit's theme does not support, and has figures follow the theme.

    app.py calls it once per run.

    Args:
        sidebar: whether the page has controls in the sidebar, which then opens with the page
            and does not move its text.
    """
    # As Markdown the rules arrive with the page's first text; the browser loads st.html later.
    with (st.sidebar if sidebar else st).container(key="rules"):
        st.markdown(f"<style>{_CSS}</style>", unsafe_allow_html=True)
        # Streamlit does not run a page again when the theme changes.
        _scheme(key="scheme", data={"dark": is_dark()}, on_theme_change=listen)


def is_dark() -> bool:
    """Whether the visitor's theme is dark."""
    return st.context.theme.type == "dark"
