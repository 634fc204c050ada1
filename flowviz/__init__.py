"""flowviz: a laboratory for flow matching (Lipman et al. 2022)."""

__version__ = "0.1.0"
