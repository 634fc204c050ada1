"""Figures: arrays in documented shapes to Plotly figures. NumPy and Plotly only, no computing."""
