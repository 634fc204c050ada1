"""What the sections compute, kept by its config."""

import streamlit as st

from flowviz.device import limit_threads
from flowviz.experiments import posterior
from flowviz.experiments.posterior import (
    ConditionalConfig,
    ConditionalResult,
    ConversionConfig,
    ConversionResult,
    TouchConfig,
    TouchResult,
)
from flowviz.fields import LearnedField

__all__ = ["conditional", "conversions", "touch"]


@st.cache_data(max_entries=48, show_spinner=False)
def touch(config: TouchConfig) -> TouchResult:
    """`posterior.compute_touch`."""
    limit_threads()
    return posterior.compute_touch(config)


@st.cache_data(max_entries=48, show_spinner=False)
def conditional(config: ConditionalConfig) -> ConditionalResult:
    """`posterior.compute_conditional`."""
    limit_threads()
    return posterior.compute_conditional(config)


@st.cache_data(max_entries=96, show_spinner=False)
def conversions(config: ConversionConfig, _field: LearnedField | None = None) -> ConversionResult:
    """`posterior.compute_conversions`; `_field` is the live field that `config.field` names."""
    limit_threads()
    return posterior.compute_conversions(config, field=_field)
