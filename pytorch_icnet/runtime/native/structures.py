"""``program.hpp``'s structures for ctypes, and the memory that they point into."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

_HUGE_PAGE = 1 << 21
_BLOCK = 1 << 25


def _fields(pointers: str = "", longs: str = "", ints: str = "") -> list[tuple[str, Any]]:
    kinds = ((ctypes.c_void_p, pointers), (ctypes.c_int64, longs), (ctypes.c_int32, ints))
    return [(name, kind) for kind, names in kinds for name in names.split()]


class CBuffer(ctypes.Structure):
    _fields_ = _fields("data", "row pixel block thread", "height width blocks floats")


class CSource(ctypes.Structure):
    _fields_ = [
        *_fields(ints="buffer stride dilation rows columns pad blocks depth"),
        *_fields(longs="part"),
        *_fields("weights"),
    ]


class COperation(ctypes.Structure):
    _fields_ = [
        *_fields(ints="kind out sources groups relu flat residual residual_stride"),
        *_fields("row_pairs column_pairs bias"),
        ("source", CSource * 2),
    ]


class CSparse(ctypes.Structure):
    _fields_ = _fields("starts indices values", ints="rows")


class CStep(ctypes.Structure):
    _fields_ = [
        *_fields("operations lines", ints="n_operations n_lines band source out"),
        ("pool", CSparse),
        ("spread", CSparse),
        *_fields("bias"),
    ]


class CProgram(ctypes.Structure):
    _fields_ = [*_fields("buffers steps", ints="n_steps parts"), *_fields("scratch", longs="thread")]


class CCall(ctypes.Structure):
    _fields_ = _fields("image scores", ints="height width classes")


LINE = ("row", "column", "out_row", "out_column", "count", "vertical", "top", "bottom", "left", "right")
"""The fields of a ``Line``, each an int32."""


class HugePageMemory:
    """Zeroed memory in huge pages where Linux has them: small pages cost a tenth of the time. Freed with the object."""

    def __init__(self) -> None:
        self._maps: list[mmap.mmap] = []
        self._next = self._end = 0

    def take(self, size: int) -> int:
        """The address of ``size`` bytes, at the beginning of a page."""
        if self._next + size > self._end:
            length = max(size, _BLOCK) + _HUGE_PAGE
            block = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                block.madvise(mmap.MADV_HUGEPAGE)
            self._maps.append(block)
            start = ctypes.addressof(ctypes.c_char.from_buffer(block))
            self._next, self._end = -(-start // _HUGE_PAGE) * _HUGE_PAGE, start + length
        address = self._next
        self._next += -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        return address

    def copy(self, values: npt.NDArray[Any]) -> int:
        """The address of a copy of ``values``."""
        values = np.ascontiguousarray(values)
        address = self.take(values.nbytes)
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        return address
