"""Arrays out of the pickles that MLPerf's preprocess.py writes, without unpickling anything.

A pickle is a program, and Python's unpickler runs it; shutting out all but NumPy's classes does not help, as
their `__setstate__` trusts the bytes it is given. Here the program is only read: its steps (pickletools) are
walked, plain values go on a stack, and what would be a call stays a note of who was to be called with what.
From the one note that stands for a numeric array its bytes are taken, if their number fits shape and type.
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError

MAX_BYTES = 4 * 1024**3
MAX_STEPS = 1_000_000
MAX_RANK = 8

_DTYPES = {"f2", "f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_IGNORED = {"PROTO", "FRAME", "STOP"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

HINT = (
    "write it again with MLPerf's preprocess.py, or give case_NNNNN.npy and case_NNNNN.label.npy "
    "beside inference_cases.json"
)


@dataclass(eq=False)
class Note:
    """A call that was not made: who was named, with which arguments, and the state it was to be given."""

    name: str
    arguments: Any = None
    state: Any = None


class _Mark:
    pass


@dataclass
class _Reader:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _TUPLES:
            at = len(self.stack) - _TUPLES[name]
            if at < 0:
                raise IndexError
            self.stack[at:] = [tuple(self.stack[at:])]
        elif (act := _STEPS.get(name)) is not None:
            act(self, argument)
        else:
            raise ValueError(f"step {name} has no place here")

    def _to_mark(self) -> list[Any]:
        at = max(i for i, item in enumerate(self.stack) if isinstance(item, _Mark))
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def empty_list(self, _: Any) -> None:
        self.stack.append([])

    def empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def tuple_(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def appends(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("appends to what is no list")
        self.stack[-1].extend(items)

    def setitem(self, _: Any) -> None:
        value = self.stack.pop()
        self._update([self.stack.pop(), value])

    def setitems(self, _: Any) -> None:
        self._update(self._to_mark())

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or not all(isinstance(k, str) for k in items[::2]):
            raise TypeError("a dictionary with keys that are no text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def memoise(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put(self, argument: Any) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    def name(self, argument: Any) -> None:
        self.stack.append(Note(".".join(str(argument).split(" "))))

    def stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name that is no text")
        self.stack.append(Note(f"{module}.{name}"))

    def reduce(self, _: Any) -> None:
        arguments, who = self.stack.pop(), self.stack.pop()
        if not isinstance(who, Note):
            raise TypeError("calls what is no name")
        self.stack.append(Note(who.name, arguments))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Note):
            raise TypeError("gives a state to what is no object")
        self.stack[-1].state = state


_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "MARK": _Reader.mark,
    "EMPTY_TUPLE": _Reader.empty_tuple,
    "EMPTY_LIST": _Reader.empty_list,
    "EMPTY_DICT": _Reader.empty_dict,
    "TUPLE": _Reader.tuple_,
    "APPEND": _Reader.append,
    "APPENDS": _Reader.appends,
    "SETITEM": _Reader.setitem,
    "SETITEMS": _Reader.setitems,
    "MEMOIZE": _Reader.memoise,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "GLOBAL": _Reader.name,
    "STACK_GLOBAL": _Reader.stack_name,
    "REDUCE": _Reader.reduce,
    "BUILD": _Reader.build,
}


def read_pickle(path: Path) -> Any:
    """What a pickle describes: plain values, and notes in place of objects. Nothing in it is run.

    Raises DataError where it is not whole, has a step that arrays need not have, or is too large.
    """
    reader = _Reader()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if not 0 < size <= MAX_BYTES:
                raise DataError(f"{size} bytes are no preprocessed case", where=str(path))
            # Mapped, so that a length in the file larger than the file gets what there is and no more.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                for number, (opcode, argument, _) in enumerate(pickletools.genops(mapped)):  # type: ignore[arg-type]
                    if number >= MAX_STEPS:
                        raise ValueError(f"more than {MAX_STEPS} steps")
                    reader.step(opcode.name, argument)
        (value,) = reader.stack
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None
    except (ValueError, IndexError, KeyError, TypeError, UnicodeError, OverflowError) as error:
        raise DataError(
            f"not a pickle of plain arrays: {str(error) or type(error).__name__}", where=str(path), hint=HINT
        ) from None
    return value


def array_of(note: Any, path: Path) -> NDArray[Any]:
    """The numeric array that a note stands for, read-only over the pickle's own bytes. Raises DataError."""
    try:
        shape, dtype, fortran, data = _parts(note)
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if len(shape) > MAX_RANK or min((0, *shape)) < 0 or count * dtype.itemsize != len(data):
            raise ValueError(f"{len(data)} bytes do not make {list(shape)} of {dtype}")
        flat = np.frombuffer(data, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"not a pickle of plain arrays: {error}", where=str(path), hint=HINT) from None


def _parts(note: Any) -> tuple[tuple[int, ...], np.dtype[Any], bool, bytes | bytearray]:
    """Shape, type, order and bytes, from either of the two forms in which NumPy pickles an array."""
    if not isinstance(note, Note):
        raise TypeError(f"{type(note).__name__} where an array should be")
    if note.name in ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
        _, shape, dtype, fortran, data = note.state
    elif note.name in ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"):
        data, dtype, shape, order = note.arguments
        fortran = order == "F"
    else:
        raise TypeError(f"{note.name} where an array should be")
    if not isinstance(data, bytes | bytearray):
        raise TypeError("elements that are objects")
    if not (isinstance(shape, tuple) and all(type(n) is int for n in shape)):
        raise TypeError("a shape that is no shape")
    return shape, _dtype(dtype), bool(fortran), data


def _dtype(note: Any) -> np.dtype[Any]:
    if not (isinstance(note, Note) and note.name == "numpy.dtype"):
        raise TypeError("no element type")
    kind, order = note.arguments[0], note.state[1]
    if kind not in _DTYPES or order not in ("<", ">", "|", "="):
        raise TypeError(f"elements of type {kind!r}")
    return np.dtype(str("<" if order == "=" else order) + str(kind))
