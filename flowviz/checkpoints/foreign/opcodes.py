"""An interpreter of pickles that executes nothing.

A pickle is a program for a stack machine. `Machine` builds only None, numbers, strings, bytes,
tuples, lists, dicts with string keys, and `StoredTensor`s. Every other object becomes `Skipped`:
nothing is imported, called, hashed or printed. An opcode costs O(1) for each byte and stack item
that it consumes, and the number of opcodes is bounded, so that no file takes long or much memory.
Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
"""

import math
import pickletools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flowviz.bounds import shown
from flowviz.checkpoints.errors import CheckpointError

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
            if opcode.name in ARGUMENTS:
                huge = isinstance(argument, int) and argument.bit_length() > 63
                self.stack.append(Skipped("int") if huge else argument)
            elif opcode.name in BUILDS:
                self._build(opcode.name)
            else:
                self._move(opcode.name, argument)
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
        """An opcode that takes nothing from the stack, or only removes from it."""
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
            case "POP" | "BUILD":  # attributes are not set
                self.stack.pop()
            case "POP_MARK" | "ADDITEMS":  # sets are not built
                self._take(None)
            case "GLOBAL":
                self.stack.append(self._named(*argument.split(" ", 1)))
            case "INST":
                self._take(None)
                self.stack.append(self._named(*argument.split(" ", 1)))
            case "PROTO" | "FRAME" | "READONLY_BUFFER" | "STOP":
                pass
            case _:
                constant = CONSTANTS[name]() if name in CONSTANTS else Skipped(name.lower())
                self.stack.append(constant)

    def _build(self, name: str) -> None:
        """An opcode that builds an object of items on the stack, or adds them to one."""
        items = self._take(BUILDS[name])
        match name, self.stack[-1] if self.stack else None:
            case "APPEND" | "APPENDS", list() as top:
                top.extend(items)
            case "SETITEM" | "SETITEMS", dict() as top:
                top.update(_pairs(items))
            case "APPEND" | "APPENDS" | "SETITEM" | "SETITEMS", _:
                pass  # of an object that is not built
            case "LIST", _:
                self.stack.append(items)
            case "DICT", _:
                self.stack.append(_pairs(items))
            case "FROZENSET", _:
                self.stack.append(Skipped("set"))
            case "STACK_GLOBAL", _:
                self.stack.append(self._named(*items))
            case "BINPERSID", _:
                self.stack.append(self._stored(items[0]))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX" | "OBJ", _:
                self.stack.append(self._built(*items[:2]))
            case _:
                self.stack.append(tuple(items))

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

    def _built(self, function: Any, arguments: Any = ()) -> Any:
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


def _pairs(items: list[Any]) -> dict[str, Any]:
    """Keys and values in turn as a dict. Only strings are keys: their hash is computed once."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, str) and len(key) <= MAX_KEY}


CONSTANTS = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Opcodes that push their argument."""

BUILDS = {
    **dict.fromkeys(("TUPLE", "LIST", "DICT", "FROZENSET", "APPENDS", "SETITEMS", "OBJ")),
    **dict.fromkeys(("TUPLE1", "APPEND", "BINPERSID"), 1),
    **dict.fromkeys(("TUPLE2", "SETITEM", "STACK_GLOBAL", "REDUCE", "NEWOBJ"), 2),
    **dict.fromkeys(("TUPLE3", "NEWOBJ_EX"), 3),
}
"""Opcodes that take items from the stack, with their number; None takes all since the mark."""
