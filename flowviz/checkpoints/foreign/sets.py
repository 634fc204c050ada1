"""Sets of weights within a file or folder, and the choice among them.

A file may hold several sets: raw and averaged weights, in nested dicts or under prefixes of their
names. A set is a group of tensors that a format recognises once the prefix is removed, so that
wrappers (DistributedDataParallel, torch.compile, Lightning, AveragedModel, ema_pytorch) need no
list of their prefixes.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.errors import CheckpointError
from flowviz.checkpoints.foreign.opcodes import Skipped, StoredTensor
from flowviz.checkpoints.foreign.pickled import read_stored
from flowviz.registry import hint_at

MAX_DEPTH = 4
"""Nested dicts, and components of a prefix."""

MAX_DICTS = 1000
MAX_SETS = 32
MAX_TENSORS = 20_000
"""By name, in all dicts together; each costs some microseconds for each part of its name."""

MAX_NUMBERED = 10_000

TOP = "top"
"""Name of the set without a prefix in the outermost dict."""

AVERAGED = {"ema", "average", "averaged", "avg", "swa", "shadow", "polyak"}
RAW = {"online", "non", "raw"}
REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights."""

NUMBERED = re.compile(r"shadow_params\.(\d{1,6})")


@dataclass(frozen=True)
class WeightSet:
    """One set of weights, not yet read.

    Attributes:
        tensors: by name, without the prefix.
        averaged: whether it is known as a moving average.
        numbered: averages of `tensors` by their position among the parameters (shadow_params).
    """

    tensors: Mapping[str, Any]
    averaged: bool = False
    numbered: Mapping[int, Any] | None = None


def find_sets(
    saved: Mapping[str, Any], recognised: Callable[[Mapping[str, Any]], bool], source: str
) -> dict[str, WeightSet]:
    """All sets of weights in nested dicts, by name: the keys that lead to it, joined by dots.

    Args:
        saved: content of a file.
        recognised: whether a format recognises a group of tensors.
        source: names the file in errors.

    Raises:
        CheckpointError: there are more than MAX_SETS, or more than MAX_TENSORS tensors.
    """
    sets: dict[str, WeightSet] = {}
    count = 0
    numbered: dict[str, dict[int, Any]] = {}
    for keys, entries in islice(_dicts(saved, set()), MAX_DICTS):
        tensors = {key: value for key, value in entries.items() if _is_tensor(value)}
        count += len(tensors)
        if count > MAX_TENSORS:
            raise CheckpointError(
                f"{source} has more than {MAX_TENSORS:,} tensors; save one model alone."
            )
        inside = groups(tensors, recognised)
        if len(sets) + len(inside) > MAX_SETS:
            raise CheckpointError(
                f"{source} has more than {MAX_SETS} sets of weights; save one model alone."
            )
        for prefix, group in inside.items():
            name = ".".join([*keys, *filter(None, [prefix.rstrip(".")])]) or TOP
            sets[name] = WeightSet(group, is_average(name) or "n_averaged" in tensors)
        averages = _numbered(entries)
        if averages:
            numbered[".".join([*keys, "shadow_params"])] = averages
    raw = [each for each in sets.values() if not each.averaged]
    for name, averages in numbered.items():
        tensors = raw[0].tensors if len(raw) == 1 else {}
        sets[name] = WeightSet(tensors, averaged=True, numbered=averages)
    return sets


def is_average(name: str) -> bool:
    """Whether a set of weights is a moving average by its name; the innermost part decides."""
    for part in reversed(name.split(".")):
        words = set(re.split(r"[^a-z]+", part.lower()))
        if words & RAW:
            return False
        if words & AVERAGED:
            return True
    return False


def choose(averaged: Mapping[str, bool], chosen: str | None, source: str) -> tuple[str, str]:
    """The name of the set to take, and a sentence that says what was taken.

    Args:
        averaged: whether a set is known as a moving average, by name.
        chosen: the name that the user chose, if any.
        source: names the file in errors.

    Raises:
        CheckpointError: there is no set of that name, or none is known as the only average.
    """
    names = list(averaged)
    if chosen is not None:
        if chosen not in averaged:
            hint = hint_at(chosen, names)
            raise CheckpointError(
                f"{source} has no weights {shown(chosen)}.{hint} There are: {_listed(names)}."
            )
        return chosen, f"Weights taken: {chosen}, as chosen."
    likely = [name for name in names if averaged[name]] or names
    if len(likely) > 1:
        raise CheckpointError(
            f"{source} has several sets of weights and none is known as the only average; choose "
            f"one with --weights NAME: {_listed(likely)}."
        )
    (name,) = likely
    if not averaged[name]:
        called = "" if name == TOP else f"{name}, "
        return name, (
            f"Weights taken: {called}the only set in the file; it is not known whether they are a "
            "moving average."
        )
    others = [other for other in names if other != name]
    left_out = f" (left out: {_listed(others)})" if others else ""
    return name, f"Weights taken: the moving average {name}{left_out}."


def read_weights(tensors: Mapping[str, Any], size: int, source: str) -> dict[str, Tensor]:
    """The values of tensors, after a check that they are real numbers.

    Args:
        tensors: `Tensor`s, `StoredTensor`s or other values of the file, by name.
        size: bytes of the file, which the tensors must not exceed.
        source: names the file in errors.

    Raises:
        CheckpointError: an entry is something else, or the tensors claim more than the file has.
    """
    for key, tensor in tensors.items():
        plain = isinstance(tensor, StoredTensor) or (
            isinstance(tensor, Tensor) and tensor.layout == torch.strided
        )
        if not plain or not isinstance(key, str):
            raise CheckpointError(
                f"{source} has an entry {shown(key)} that is not a plain tensor."
            )
        if tensor.dtype not in REAL:
            raise CheckpointError(
                f"{source} has weights {shown(key)} that are not real numbers of 16 bits or more."
            )
    if sum(tensor.nbytes for tensor in tensors.values()) > size:
        raise CheckpointError(f"{source} claims more weights than it holds.")
    stored = {key: value for key, value in tensors.items() if isinstance(value, StoredTensor)}
    return {**tensors, **read_stored(stored, source)}


def _listed(names: Collection[str]) -> str:
    shortest = sorted(names, key=len)[:4]
    rest = f" and {len(names) - len(shortest)} more" if len(names) > len(shortest) else ""
    return ", ".join(name if len(name) <= 40 else name[:39] + "…" for name in shortest) + rest


def _is_tensor(value: object) -> bool:
    tensor = isinstance(value, Tensor | StoredTensor)
    return tensor or (isinstance(value, Skipped) and value.is_tensor)


def _dicts(
    entries: Mapping[str, Any], visited: set[int], keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The dict itself and those within it, each once, with the keys that lead to it."""
    visited.add(id(entries))
    yield keys, entries
    if len(keys) < MAX_DEPTH:
        for key, value in entries.items():
            if isinstance(value, dict) and id(value) not in visited:
                yield from _dicts(value, visited, (*keys, key))


def groups(
    tensors: Mapping[str, Any], recognised: Callable[[Mapping[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """The recognised groups of tensors, by their prefix; a group has none of another's tensors."""
    by_prefix: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        parts = key.split(".", MAX_DEPTH)
        for i in range(len(parts)):
            prefix = "".join(part + "." for part in parts[:i])
            by_prefix.setdefault(prefix, {})[key.removeprefix(prefix)] = tensor
    known = (prefix for prefix, group in by_prefix.items() if recognised(group))
    recognised_groups = {prefix: by_prefix[prefix] for prefix in islice(known, MAX_SETS + 1)}
    for prefix, group in recognised_groups.items():
        for longer in recognised_groups:
            if longer != prefix and longer.startswith(prefix):
                for key in recognised_groups[longer]:
                    group.pop(longer.removeprefix(prefix) + key, None)
    for group in recognised_groups.values():  # averages by number are a set of their own
        for key in [key for key in group if key.startswith("shadow_params.")]:
            del group[key]
    return recognised_groups


def _numbered(entries: Mapping[str, Any]) -> dict[int, Any]:
    """The averages of a dict by position: entries shadow_params.<i>, or a list of that name.

    An entry whose <i> is no number has position -1, which no parameter has.
    """
    listed = entries.get("shadow_params")
    if isinstance(listed, list):
        return dict(enumerate(listed[:MAX_NUMBERED]))
    averages = {}
    for key, value in entries.items():
        if key.startswith("shadow_params."):
            match = NUMBERED.fullmatch(key)
            averages[int(match[1]) if match else -1] = value
    return averages
