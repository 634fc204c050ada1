"""The stored results of the server, and functions whose results are stored."""

from collections.abc import Callable, Hashable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from flowviz.device import limit_threads
from flowviz.ui import housekeeping, limits
from flowviz.ui.store import Store

P = ParamSpec("P")
R = TypeVar("R")

IDLE_BYTES = 30_000_000
"""Of the stored results that stay when no visitor is left: those of the default views."""


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The server's store of results, shared by all visitors."""
    new_store = Store(max_bytes=limits.CACHE_MB() * 1_000_000)
    housekeeping.when_idle(partial(new_store.shrink, IDLE_BYTES))
    return new_store


def key_of(compute: Callable[..., Any], config: Hashable) -> Hashable:
    """The key of the result of a function for a config."""
    return f"{compute.__module__}.{compute.__qualname__}", config


def cached(compute: Callable[P, R]) -> Callable[P, R]:
    """`compute`, whose results are stored by its first argument, a config.

    Further arguments must follow from the config, such as the field that it names.
    """

    @wraps(compute)
    def recalled(*args: P.args, **kwargs: P.kwargs) -> R:
        limit_threads()  # a setting of the calling thread
        return store().once(key_of(compute, args[0]), partial(compute, *args, **kwargs))

    return recalled
