"""The user interface: the only subpackage that imports Streamlit."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

if PagesManager.uses_pages_directory:
    # Before the first st.navigation call on a server, Streamlit treats pages/ as an old multipage
    # app: the first visitor of a deep link got that page's file alone, without app.py.
    PagesManager.uses_pages_directory = False
    st.rerun()
