"""Experiments: a frozen flat config of names and numbers to a result of NumPy arrays."""
