"""The user interface: the only rooms of flowviz that know Streamlit."""
