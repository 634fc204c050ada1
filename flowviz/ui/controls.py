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
        for name, setting in settings(kind).items():
            if not setting.advanced and name not in hide and (only is None or name in only):
                helped = glossary.helped(setting.label, setting.help)
                declared.setdefault(name, replace(setting, help=helped))
    values: dict[str, Any] = {}
    for name, setting in declared.items():
        if name not in values:
            default = defaults.get(name, setting.default)
            if offered and name in offered:
                setting = replace(setting, offered=offered[name](values))
            if name == "method" and {"nfe", "tol"} <= declared.keys():
                values |= _solver(declared, defaults)
            else:
                values[name] = _widget(setting, default, values)
    return values


def _widget(setting: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    """Draws the control of a setting; `values` are those of the settings before it."""
    slug, label, help = setting.slug, setting.label, setting.help
    match setting.kind:
        case "data":
            return data_picker.pick(default, help=help, sources=setting.sources)
        case "path":
            return _path(setting, default, values)
        case "own":
            return paths.also_own(label=label, help=help)
        case "field":
            return field_picker.pick(setting, values)
        case "seed":
            return widgets.seed(label, default, slug=slug, help=help)
    if setting.several:
        return _several(setting, default)
    if setting.options is not None:
        return _choice(setting, default)
    if setting.type is bool:
        return widgets.toggle(slug, label, default, help=help)
    if setting.type is str:
        return widgets.text(slug, label, default, help=help)
    if setting.offered is not None and setting.type is int:
        text = f"{{:,}} {setting.unit}".strip()
        return widgets.count(slug, label, setting.offered, default, text=text, help=help)
    if setting.offered is not None:
        labels = {f"{value:g}": f"{value:g}" for value in setting.offered}
        return float(widgets.select(slug, label, labels, f"{default:g}", help=help))
    low, high = setting.bounds or (0, 1_000_000)
    if setting.type is int:
        return widgets.integer(slug, label, int(low), int(high), default, help=help)
    return widgets.number(slug, label, float(low), float(high), default, help=help)


def _path(setting: Setting, default: Any, values: Mapping[str, Any]) -> Any:
    if setting.several:
        chosen = widgets.several_of(setting, paths.labels(), default)
        return tuple(paths.spec(name) for name in chosen) or tuple(default)
    if setting.offered is not None:
        offered = {name: paths.labels()[name] for name in setting.offered}
        return paths.spec(
            widgets.select(setting.slug, setting.label, offered, default, help=setting.help)
        )
    source, _ = parted(str(values.get("data", "")))
    return paths.select(setting.slug, setting.label, default, source=source, help=setting.help)


def _choice(setting: Setting, default: Any) -> Any:
    options = setting.options or {}
    offered = {str(key): options[key] for key in (setting.offered or options)}
    if default is MISSING:
        default = next(iter(offered))
    chosen = widgets.select(setting.slug, setting.label, offered, str(default), help=setting.help)
    return next(key for key in options if str(key) == chosen)


def _several(setting: Setting, default: Any) -> tuple[Any, ...]:
    options = setting.options or {key: f"{key:,}" for key in setting.offered or ()}
    texts = {str(key): label for key, label in options.items()}
    chosen = widgets.several_of(setting, texts, default)
    return tuple(map(setting.type, chosen)) or tuple(default)


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
