"""Controls for the settings of studies: one widget for each declared setting, kept in the URL."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, replace
from typing import Any, TypeVar

from flowviz.datasets import parted
from flowviz.settings import Config, Setting, settings
from flowviz.ui import data_picker, field_picker, glossary, paths, solver_picker, state

C = TypeVar("C", bound=Config)


def pick(
    *kinds: type[Config],
    hide: Collection[str] = (),
    only: Collection[str] | None = None,
    offered: Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]] | None = None,
    **defaults: Any,
) -> dict[str, Any]:
    """Draws one control for each setting of one or several configs, in the order of the fields.

    The help of a control explains the terms of the glossary that it uses.

    A setting that several configs have is drawn once, as the first one declares it. Build a config
    by `kind.build(values)`.

    Args:
        kinds: classes of configs.
        hide: settings without a control; they keep their defaults.
        only: the settings with a control; all by default.
        offered: choices of a menu by the name of its setting, given the values before it.
        defaults: defaults by name that replace those of the configs.

    Returns:
        The values by the names of the settings.
    """
    declared: dict[str, Setting] = {}
    for kind in kinds:
        for name, each in settings(kind).items():
            if not each.advanced and name not in hide and (only is None or name in only):
                helped = glossary.helped(each.label, each.help)
                declared.setdefault(name, replace(each, help=helped))
    values: dict[str, Any] = {}
    for name, each in declared.items():
        if name not in values:
            default = defaults.get(name, each.default)
            if offered and name in offered:
                each = replace(each, offered=offered[name](values))
            if name == "method" and {"nfe", "tol"} <= declared.keys():
                values |= _solver(declared, defaults)
            else:
                values[name] = _widget(each)(each, default, values)
    return values


def _widget(of: Setting) -> Callable[[Setting, Any, Mapping[str, Any]], Any]:
    """The function that draws a setting, given its default and the values before it."""
    if of.kind != "value":
        return _KINDS[of.kind]
    if of.several:
        return _several
    if of.options is not None:
        return _choice
    if of.type is bool:
        return lambda s, default, _: state.toggle(s.slug, s.label, default, help=s.help or None)
    return _NUMBERS[of.type]


def _data(of: Setting, default: Any, values: Mapping[str, Any]) -> str:
    return data_picker.pick(default, help=of.help or None, sources=of.sources)


def _path(of: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    if of.offered is not None:
        offered = {name: paths.labels()[name] for name in of.offered}
        return paths.spec(state.select(of.slug, of.label, offered, default, help=of.help or None))
    if not of.several:
        source, _ = parted(str(values.get("data", "")))
        return paths.select(of.slug, of.label, default, source=source, help=of.help or None)
    chosen = state.several(
        of.slug, of.label, paths.labels(), default, max_chosen=of.max_chosen, help=of.help or None
    )
    return tuple(paths.spec(name) for name in chosen) or tuple(default)


def _own(of: Setting, default: Any, values: Mapping[str, Any]) -> str:
    return paths.also_own(label=of.label, help=of.help)


def _field(of: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    return field_picker.pick(of, default, values)


def _seed(of: Setting, default: Any, values: Mapping[str, Any]) -> int:
    return state.seed(of.label, default, slug=of.slug, help=of.help or None)


def _choice(of: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    options = of.options or {}
    offered = {str(k): options[k] for k in (of.offered or options)}
    if default is MISSING:
        default = next(iter(offered))
    chosen = state.select(of.slug, of.label, offered, str(default), help=of.help or None)
    return next(key for key in options if str(key) == chosen)


def _several(of: Setting, default: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
    options = of.options or {key: f"{key:,}" for key in of.offered or ()}
    chosen = state.several(
        of.slug,
        of.label,
        {str(key): label for key, label in options.items()},
        tuple(map(str, default)),
        max_chosen=of.max_chosen,
        help=of.help or None,
    )
    return tuple(of.type(name) for name in chosen) or tuple(default)


def _integer(of: Setting, default: Any, values: Mapping[str, Any]) -> int:
    if of.offered is not None:
        text = f"{{:,}} {of.unit}".strip()
        return state.count(of.slug, of.label, of.offered, default, text=text, help=of.help or None)
    low, high = of.bounds or (0, 1_000_000)
    return state.integer(of.slug, of.label, int(low), int(high), default, help=of.help or None)


def _number(of: Setting, default: Any, values: Mapping[str, Any]) -> float:
    if of.offered is not None:
        shown = {f"{value:g}": f"{value:g}" for value in of.offered}
        chosen = state.select(of.slug, of.label, shown, f"{default:g}", help=of.help or None)
        return float(chosen)
    low, high = of.bounds or (0.0, 1e6)
    return state.number(of.slug, of.label, low, high, default, help=of.help or None)


def _text(of: Setting, default: Any, values: Mapping[str, Any]) -> str:
    return state.text(of.slug, of.label, default, help=of.help or None)


_KINDS: dict[str, Callable[[Setting, Any, Mapping[str, Any]], Any]] = {
    "data": _data,
    "path": _path,
    "own": _own,
    "field": _field,
    "seed": _seed,
}
_NUMBERS: dict[type, Callable[[Setting, Any, Mapping[str, Any]], Any]] = {
    int: _integer,
    float: _number,
    str: _text,
}


def _solver(declared: Mapping[str, Setting], defaults: Mapping[str, Any]) -> dict[str, Any]:
    method, nfe, tol = (declared[name] for name in ("method", "nfe", "tol"))
    chosen = solver_picker.pick(
        solver_picker.Solver(*(defaults.get(s.name, s.default) for s in (method, nfe, tol))),
        offered=method.options or {},
        help=method.help,
        nfe_help=nfe.help,
        tol_help=tol.help or None,
    )
    return {"method": chosen.method, "nfe": chosen.nfe, "tol": chosen.tol}
