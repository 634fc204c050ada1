"""Plotly figures as pure functions of NumPy arrays. The figures compute no results themselves."""
