"""Velocity fields, called as field(t, x): exact ones in closed form, and learned ones."""

from flowviz.fields.exact import ExactField, exact_field
from flowviz.fields.flow_map import FlowMap, field_class
from flowviz.fields.learned import LearnedField
from flowviz.fields.sourced import exact_field_of

__all__ = ["ExactField", "FlowMap", "LearnedField", "exact_field", "exact_field_of", "field_class"]
