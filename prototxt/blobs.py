"""Blobs of a binary file as arrays over its bytes (Caffe's ``BlobProto`` and ``Blob::FromProto``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .wire import FIXED32, FIXED64, LENGTH, VARINT, Damage, Walk

MAX_AXES = 32  # Caffe's kMaxBlobAxes

_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_LEGACY_DIMS = (1, 2, 3, 4)  # num, channels, height, width
_DIM = 1


class _Values:
    """The values of one repeated float or double field, gathered from packed and single records in order."""

    def __init__(self, dtype: str) -> None:
        self._type = np.dtype(dtype)
        self._runs: list[NDArray[Any]] = []

    def packed(self, data: memoryview, start: int, end: int) -> None:
        if (end - start) % self._type.itemsize:
            raise Damage(start, f"{end - start} bytes of packed values are not a multiple of {self._type.itemsize}")
        if end > start:
            self._runs.append(np.frombuffer(data, self._type, (end - start) // self._type.itemsize, start))

    def single(self, data: memoryview, start: int, count: int) -> None:
        size = self._type.itemsize
        records = np.ndarray((count,), self._type, data, start, (size + 1,))
        self._runs.append(records)

    def array(self) -> NDArray[Any]:
        """All values; a view of the file when they lie in one piece."""
        if len(self._runs) == 1 and self._runs[0].flags.c_contiguous:
            return self._runs[0]
        return np.concatenate([np.empty(0, self._type), *self._runs])


def read_blob(walk: Walk, data: memoryview, start: int, end: int, depth: int) -> NDArray[Any]:
    """The blob whose ``BlobProto`` is ``data[start:end]``: float32, or float64 where the file holds doubles.

    The array is read-only, and a view of ``data`` (perhaps unaligned) when the values lie in one packed piece.
    Old-style dims give a 4-D shape; differences (gradients) are checked and left out.

    Raises:
        Damage: the message is broken, or its values do not fill its shape.
    """
    floats, doubles, differences = _Values("<f4"), _Values("<f8"), (_Values("<f4"), _Values("<f8"))
    values_of = {_DATA: floats, _DIFF: differences[0], _DOUBLE_DATA: doubles, _DOUBLE_DIFF: differences[1]}
    legacy: dict[int, int] = {}
    dims: list[int] = []
    for number, wire, first, second in walk.fields(start, end, depth):
        if number in values_of:
            if wire == LENGTH:
                values_of[number].packed(data, first, second)
            elif wire == (FIXED32 if number in (_DATA, _DIFF) else FIXED64):
                values_of[number].single(data, first, second)
        elif number == _SHAPE and wire == LENGTH:
            dims += _dims(walk, first, second, depth + 1)
        elif number in _LEGACY_DIMS and wire == VARINT:
            legacy[number] = _signed(first, 32)
    values = doubles.array()
    if not values.size:
        values = floats.array()
    return _shaped(values, [legacy.get(number, 0) for number in _LEGACY_DIMS] if legacy else dims, start)


def _dims(walk: Walk, start: int, end: int, depth: int) -> list[int]:
    dims: list[int] = []
    for number, wire, first, second in walk.fields(start, end, depth):
        if number == _DIM and wire == LENGTH:
            dims += walk.varints(first, second)
        elif number == _DIM and wire == VARINT:
            dims.append(first)
    return [_signed(dim, 64) for dim in dims]


def _shaped(values: NDArray[Any], shape: list[int], start: int) -> NDArray[Any]:
    if len(shape) > MAX_AXES:
        raise Damage(start, f"a blob has {len(shape)} axes, more than Caffe's {MAX_AXES}")
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise Damage(start, f"a blob of shape {tuple(shape)} holds {values.size} values")
    shaped = values.reshape(shape)
    shaped.flags.writeable = False
    return shaped


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
