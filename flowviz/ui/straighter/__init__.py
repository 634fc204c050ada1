"""The page "Is straighter better?": three claims, each measured before the visitor's eyes."""

from flowviz.ui.straighter.claims import choose, show

__all__ = ["choose", "show"]
