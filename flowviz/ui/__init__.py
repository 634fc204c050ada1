"""The user interface: the one room that knows Streamlit, beside the pages."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

if PagesManager.uses_pages_directory:
    # Until a server has run st.navigation once, Streamlit takes the folder pages/ for an app of
    # its older kind: the first visitor who came by a deep link got that page's file alone, without
    # app.py. This runs at the first import on a server, hence before any page shows anything.
    PagesManager.uses_pages_directory = False
    st.rerun()
