"""Velocity fields, called as field(t, x): exact ones in closed form, and learned ones."""

from flowviz.fields.exact import ExactField, exact_field
from flowviz.fields.learned import LearnedField

__all__ = ["ExactField", "LearnedField", "exact_field"]
