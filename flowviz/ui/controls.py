"""Controls for the settings of studies: one widget for each declared setting, kept in the URL."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, replace
from typing import Any, TypeVar

from flowviz.datasets import parted
from flowviz.settings import Config, Setting, settings
from flowviz.ui import data_picker, field_picker, glossary, paths, solver_picker, widgets

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
                values[name] = _widget(each, default, values)
    return values


def _widget(of: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    """Draws the control of a setting; `values` are those of the settings before it."""
    slug, label, help = of.slug, of.label, of.help
    match of.kind:
        case "data":
            return data_picker.pick(default, help=help, sources=of.sources)
        case "path":
            return _path(of, default, values)
        case "own":
            return paths.also_own(label=label, help=help)
        case "field":
            return field_picker.pick(of, values)
        case "seed":
            return widgets.seed(label, default, slug=slug, help=help)
    if of.several:
        return _several(of, default)
    if of.options is not None:
        return _choice(of, default)
    if of.type is bool:
        return widgets.toggle(slug, label, default, help=help)
    if of.type is str:
        return widgets.text(slug, label, default, help=help)
    if of.offered is not None and of.type is int:
        text = f"{{:,}} {of.unit}".strip()
        return widgets.count(slug, label, of.offered, default, text=text, help=help)
    if of.offered is not None:
        shown = {f"{value:g}": f"{value:g}" for value in of.offered}
        return float(widgets.select(slug, label, shown, f"{default:g}", help=help))
    low, high = of.bounds or (0, 1_000_000)
    if of.type is int:
        return widgets.integer(slug, label, int(low), int(high), default, help=help)
    return widgets.number(slug, label, float(low), float(high), default, help=help)


def _path(of: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    if of.several:
        chosen = _chosen(of, paths.labels(), default)
        return tuple(paths.spec(name) for name in chosen) or tuple(default)
    if of.offered is not None:
        offered = {name: paths.labels()[name] for name in of.offered}
        return paths.spec(widgets.select(of.slug, of.label, offered, default, help=of.help))
    source, _ = parted(str(values.get("data", "")))
    return paths.select(of.slug, of.label, default, source=source, help=of.help)


def _choice(of: Setting, default: Any) -> Any:
    options = of.options or {}
    offered = {str(key): options[key] for key in (of.offered or options)}
    if default is MISSING:
        default = next(iter(offered))
    chosen = widgets.select(of.slug, of.label, offered, str(default), help=of.help)
    return next(key for key in options if str(key) == chosen)


def _several(of: Setting, default: Any) -> tuple[Any, ...]:
    options = of.options or {key: f"{key:,}" for key in of.offered or ()}
    texts = {str(key): label for key, label in options.items()}
    return tuple(of.type(name) for name in _chosen(of, texts, default)) or tuple(default)


def _chosen(of: Setting, options: Mapping[str, str], default: Any) -> tuple[str, ...]:
    opening = tuple(map(str, default))
    return widgets.several(
        of.slug, of.label, options, opening, max_chosen=of.max_chosen, help=of.help
    )


def _solver(declared: Mapping[str, Setting], defaults: Mapping[str, Any]) -> dict[str, Any]:
    method, nfe, tol = (declared[name] for name in ("method", "nfe", "tol"))
    chosen = solver_picker.pick(
        solver_picker.Solver(*(defaults.get(s.name, s.default) for s in (method, nfe, tol))),
        offered=method.options or {},
        help=method.help,
        nfe_help=nfe.help,
        tol_help=tol.help,
    )
    return {"method": chosen.method, "nfe": chosen.nfe, "tol": chosen.tol}
