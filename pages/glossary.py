"""Glossary: the meaning of each technical term, in one sentence."""

import streamlit as st

from flowviz.ui import glossary

st.header("Glossary")
glossary.show()
