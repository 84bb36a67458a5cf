"""Keeping the thread's alternate signal stack as it was, whatever a native library does to it.

OpenVINO 2026.4 gives the thread that compiles a model a signal stack of its own, and puts back the one it
found when the model goes. Of two models the first to come may be the first to go: then the second puts back
the first one's, which is no longer there, and the next Ctrl-C ends the process with a segmentation fault,
as Python's handlers run on that stack.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """The signal stack after the block is the one before it. Does nothing where the system has none."""
    change = getattr(ctypes.CDLL(None), "sigaltstack", None)
    before = _Stack()
    known = change is not None and change(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known and change is not None:
            change(ctypes.byref(before), None)
