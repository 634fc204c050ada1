"""Shipped answers: complete results of studies, computed at release time and stored as files.

A page whose settings are those of an answer shows it at once. A config that names a checkpoint
has the hash of its content, so that an answer is never taken for another checkpoint. Each answer
is one `.npz` file in `answers/`: the arrays, and as JSON the dataclasses around them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowviz.files import replacing
from flowviz.settings import Config
from flowviz.studies.study import Study

FOLDER = Path(__file__).parent / "answers"

VERSION = 1
"""Version of the layout of the files; answers of another version are not read."""


LIVE_ONLY = {"couplings", "flow", "image-film", "learned-training", "particles"}
"""Studies without answers: their results hold networks, or megabytes of trajectories or images."""


def path_of(study: Study, config: Config) -> Path:
    """The file of an answer, whether it exists or not; the config is settled."""
    return FOLDER / f"{study.name}-{config.key()}.npz"


def write(study: Study, config: Config, result: Any) -> Path:
    """Writes the complete result of a settled config; returns the file.

    Raises:
        TypeError: the result holds an object that is not an array, a dataclass of flowviz, a
            collection, a number or a text.
    """
    arrays: list[NDArray[Any]] = []
    header = {
        "version": VERSION,
        "study": study.name,
        "settings": asdict(config.computed()),
        "result": _tree(result, arrays),
    }
    path = path_of(study, config)
    with replacing(path) as draft, draft.open("wb") as file:
        named: dict[str, Any] = {f"array{k}": each for k, each in enumerate(arrays)}
        np.savez_compressed(file, about=np.array(json.dumps(header)), **named)
    return path


def read(path: Path) -> Any:
    """The result in a file that `write` made; None if an earlier flowviz made it.

    That is one with another version of these files, or with other fields of a dataclass.
    """
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["about"]))
        try:
            return _value(header["result"], file) if header["version"] == VERSION else None
        except _OutdatedError:
            return None


def read_request(path: Path) -> tuple[str, dict[str, Any]]:
    """The name of the study and the settings in a file that `write` made."""
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["about"]))
    lists = header["settings"].items()
    return header["study"], {k: tuple(v) if isinstance(v, list) else v for k, v in lists}


def _tree(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """A value as JSON, with its arrays appended to a list."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise TypeError(f"An answer cannot hold an array of {value.dtype}.")
        arrays.append(np.asarray(value))
        return {"scalar" if isinstance(value, np.generic) else "array": len(arrays) - 1}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_tree(each, arrays) for each in value]}
    if is_dataclass(value) and type(value).__module__.startswith("flowviz."):
        named = {each.name: _tree(getattr(value, each.name), arrays) for each in fields(value)}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": named}
    if isinstance(value, Mapping):
        return {"dict": [[_tree(k, arrays), _tree(v, arrays)] for k, v in value.items()]}
    raise TypeError(f"An answer cannot hold an object of {type(value).__qualname__}.")


def _value(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The value of a tree that `_tree` made."""
    match tree:
        case {"float": text}:
            return float(text)
        case {"array": k}:
            return arrays[f"array{k}"]
        case {"scalar": k}:
            return arrays[f"array{k}"][()]
        case {"class": name, "fields": named}:
            return _restore(name, {key: _value(each, arrays) for key, each in named.items()})
        case {"dict": pairs}:
            return {_value(k, arrays): _value(v, arrays) for k, v in pairs}
        case {"tuple": parts}:
            return tuple(_value(each, arrays) for each in parts)
        case {"list": parts}:
            return [_value(each, arrays) for each in parts]
    return tree


class _OutdatedError(Exception):
    """A dataclass has other fields than its object in an answer."""


def _restore(name: str, values: Mapping[str, Any]) -> Any:
    """An object of a dataclass with these fields, without a call of its constructor.

    Raises:
        _OutdatedError: the dataclass has other fields.
    """
    module, _, qualname = name.partition(":")
    if not module.startswith("flowviz."):
        raise ValueError(f"An answer holds dataclasses of flowviz only; got {name!r}.")
    dataclass_type = getattr(import_module(module), qualname)
    if set(values) != {each.name for each in fields(dataclass_type)}:
        raise _OutdatedError(name)
    restored = object.__new__(dataclass_type)
    for key, each in values.items():
        object.__setattr__(restored, key, each)
    return restored
