"""The user interface: the only subpackage that imports Streamlit."""

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

# Before the first st.navigation call on a server, Streamlit treats pages/ as an old multipage app
# and shows the first visitor a sidebar of files, or the file of a deep link without app.py.
started, PagesManager.uses_pages_directory = PagesManager.uses_pages_directory, False
if started:  # the server has not imported app.py, as in tests
    st.rerun()
