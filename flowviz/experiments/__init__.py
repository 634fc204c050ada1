"""Experiments: a frozen flat config of names and numbers to a result of NumPy arrays.

The argument `field` of a `compute` function is the field that `config.field` names, if it has no
file, such as one just trained.
"""
