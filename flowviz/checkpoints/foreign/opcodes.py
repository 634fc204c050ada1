"""An interpreter of pickles that executes nothing.

A pickle is a program for a stack machine. `Machine` builds only None, numbers, strings, bytes,
tuples, lists, dicts with string keys, and `StoredTensor`s. Every other object becomes `Skipped`:
nothing is imported, called, hashed or printed. Each opcode costs O(1) beside the bytes and stack
items that it consumes, and the number of opcodes is bounded, so that no file takes long or much
memory. Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

import math
import pickletools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowviz.checkpoints.errors import CheckpointError, shown

__all__ = ["FIX", "Machine", "Skipped", "StoredTensor"]

MAX_OPCODES = 600_000
"""About 12,000 tensors, those of the optimiser included."""

MAX_DIMENSIONS = 8
MAX_KEY = 10_000
"""Characters of a key; entries with longer keys are skipped."""

MAX_NAME = 200
"""Characters of a class's name that are looked at."""

DTYPES = {
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
CODE = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|ctypes|importlib|runpy|pty|code|pdb|webbrowser)\."
    r"|(__builtin__|builtins)\.(eval|exec|execfile|compile|open|__import__|breakpoint|input)$"
)
"""Functions that only an attack names. They would be skipped as well; the refusal is a warning."""

FIX = "Save model.state_dict() alone with torch.save or safetensors."


@dataclass(frozen=True, eq=False)
class Skipped:
    """An object, class or function of a pickle that was not built; `name` is that of its class."""

    name: str

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor of a kind that is not read, such as a sparse one."""
        return self.name.startswith(("torch._utils._rebuild", "torch._tensor._rebuild"))


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in an archive; `read_stored` reads its values."""

    archive: Path | bytes = field(repr=False)
    entry: str
    """Name of the archive's entry with its storage."""
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def view(self, content: bytearray) -> Tensor:
        """The tensor in the bytes of its storage, whose memory it shares.

        Raises:
            ValueError: it exceeds the storage.
        """
        if not self.nbytes:
            return torch.empty(self.shape, dtype=self.dtype)
        last = sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.stride, strict=True)
        )
        if (self.offset + last + 1) * self.dtype.itemsize > len(content):
            raise ValueError("a tensor exceeds its storage")
        length = len(content) // self.dtype.itemsize
        flat = torch.frombuffer(content, dtype=self.dtype, count=length)
        return flat.as_strided(self.shape, self.stride, self.offset)


@dataclass(frozen=True, eq=False)
class Storage:
    """A reference to the raw bytes of tensors: an archive's entry and the type of its numbers."""

    entry: str
    dtype: torch.dtype


class Machine:
    """The stack, marks and memo of one pickle; see the module for what it builds.

    Args:
        archive: of the pickle, for its tensors.
        folder: prefix of the archive's entries.
        source: names the file in errors.
    """

    def __init__(self, archive: Path | bytes, folder: str, source: str) -> None:
        self.archive = archive
        self.folder = folder
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """The object that a pickle describes.

        Raises:
            CheckpointError: it names code to run.
            ValueError, LookupError, TypeError, AttributeError: it is damaged or too long.
        """
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count >= MAX_OPCODES:
                raise ValueError("too many opcodes")
            name = opcode.name
            if name in PUSHES:
                self.stack.append(PUSHES[name]())
            elif name in ARGUMENTS:
                huge = isinstance(argument, int) and argument.bit_length() > 63
                self.stack.append(Skipped("int") if huge else argument)
            elif name in REPLACES:
                count_taken, method = REPLACES[name]
                result = getattr(self, method)(*self._take(count_taken))
                self.stack.append(result)
            elif name in CHANGES:
                count_taken, method = CHANGES[name]
                items = self._take(count_taken)
                if method:
                    getattr(self, method)(items)
            else:
                self._move(name, argument)
        return self.stack.pop()

    def _take(self, count: int | None) -> list[Any]:
        """Removes the last items from the stack: `count`, or all since the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if start < 0:
            raise ValueError("an empty stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _move(self, name: str, argument: Any) -> None:
        """An opcode that marks the stack, copies an item or names a class."""
        match name:
            case "MARK":
                self.marks.append(len(self.stack))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "DUP":
                self.stack.append(self.stack[-1])
            case "POP" if self.marks and self.marks[-1] == len(self.stack):
                self.marks.pop()
            case "POP":
                self.stack.pop()
            case "GLOBAL":
                self.stack.append(self._named(*argument.split(" ", 1)))
            case "INST":
                self._take(None)
                self.stack.append(self._named(*argument.split(" ", 1)))
            case "PROTO" | "FRAME" | "READONLY_BUFFER" | "STOP":
                pass
            case _:
                self.stack.append(Skipped(name))

    def _tuple(self, *items: Any) -> tuple[Any, ...]:
        return items

    def _list(self, *items: Any) -> list[Any]:
        return [*items]

    def _dict(self, *items: Any) -> dict[str, Any]:
        """The items with string keys, whose hash is computed only once."""
        pairs = zip(items[::2], items[1::2], strict=True)
        return {k: value for k, value in pairs if isinstance(k, str) and len(k) <= MAX_KEY}

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(self._dict(*items))

    def _set(self, *items: Any) -> Skipped:
        return Skipped("set")

    def _named(self, module: str, name: str) -> Skipped:
        """A class or function by its name."""
        called = f"{module[:MAX_NAME]}.{name[:MAX_NAME]}"
        if CODE.match(called):
            raise CheckpointError(
                f"{self.source} names {shown(called)}, which is code; flowviz reads tensors and "
                f"runs no code of a file. {FIX}"
            )
        return Skipped(called)

    def _stored(self, name: Any) -> Storage | Skipped:
        match name:
            case ("storage", Skipped(kind), str(key), str(), int()) if kind in DTYPES:
                return Storage(f"{self.folder}data/{key}", DTYPES[kind])
        return Skipped("torch._utils._rebuild_tensor_v2")

    def _built(self, function: Any, arguments: Any = (), *_: Any) -> Any:
        """The result of a call of a class or function: a dict, a tensor or `Skipped`."""
        name = function.name if isinstance(function, Skipped) else type(function).__name__
        match name, arguments:
            case "collections.OrderedDict" | "collections.defaultdict", _:
                return {}
            case "torch._utils._rebuild_tensor_v2", (
                Storage() as storage,
                offset,
                size,
                steps,
                *_,
            ):
                return self._tensor(storage, offset, size, steps)
            case (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                (data, *_),
            ):
                return data
            case "torch._tensor._rebuild_from_type_v2", (
                Skipped("torch._utils._rebuild_tensor_v2"),
                _,
                (Storage() as storage, offset, size, steps, *_),
                *_,
            ):
                return self._tensor(storage, offset, size, steps)
        return Skipped(name)

    def _tensor(self, storage: Storage, offset: Any, shape: Any, stride: Any) -> StoredTensor:
        if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
            raise ValueError("a tensor's shape and stride do not match")
        numbers = (offset, *shape, *stride)
        if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
            raise ValueError("a tensor's shape is out of range")
        return StoredTensor(
            self.archive, storage.entry, storage.dtype, offset, tuple(shape), tuple(stride)
        )


PUSHES = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Skipped("set"),
}
ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Opcodes that push their argument."""

REPLACES = {
    "TUPLE": (None, "_tuple"),
    "TUPLE1": (1, "_tuple"),
    "TUPLE2": (2, "_tuple"),
    "TUPLE3": (3, "_tuple"),
    "LIST": (None, "_list"),
    "DICT": (None, "_dict"),
    "FROZENSET": (None, "_set"),
    "STACK_GLOBAL": (2, "_named"),
    "BINPERSID": (1, "_stored"),
    "REDUCE": (2, "_built"),
    "NEWOBJ": (2, "_built"),
    "NEWOBJ_EX": (3, "_built"),
    "OBJ": (None, "_built"),
}
"""Opcodes that take items (None: all since the mark) and push the result of a method on them."""

CHANGES = {
    "APPEND": (1, "_extend"),
    "APPENDS": (None, "_extend"),
    "SETITEM": (2, "_update"),
    "SETITEMS": (None, "_update"),
    "ADDITEMS": (None, ""),
    "BUILD": (1, ""),
    "POP_MARK": (None, ""),
}
"""Opcodes that take items and change the one below them, or do nothing."""
