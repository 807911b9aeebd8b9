"""Blobs of a binary file as arrays over its bytes (Caffe's ``BlobProto`` and ``Blob::FromProto``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .wire import FIXED32, FIXED64, LENGTH, VARINT, WireError, WireReader

MAX_AXES = 32  # Caffe's kMaxBlobAxes

_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_LEGACY_DIMS = (1, 2, 3, 4)  # num, channels, height, width
_DIM = 1
_TYPES: dict[int, np.dtype[Any]] = {
    _DATA: np.dtype("<f4"),
    _DIFF: np.dtype("<f4"),
    _DOUBLE_DATA: np.dtype("<f8"),
    _DOUBLE_DIFF: np.dtype("<f8"),
}


class LegacyBlob(np.ndarray[Any, Any]):
    """A 4-D blob whose file gives num, channels, height and width instead of a shape.

    Caffe loads it into any blob of up to four axes that is equal when right-aligned, such as 1x1x1xN into N; a 4-D
    ``shape`` fits 4-D blobs alone.
    """


def read_blob(walk: WireReader, start: int, end: int, depth: int) -> NDArray[Any]:
    """The blob whose ``BlobProto`` lies at ``start`` to ``end``: float32, or float64 where the file holds doubles.

    The array is read-only, and a view of the buffer (perhaps unaligned) when the values lie in one packed piece.
    Old-style dims give a 4-D :class:`LegacyBlob`; differences (gradients) are checked and left out.

    Raises:
        WireError: the message is broken, or its values do not fill its shape.
    """
    values, shape, legacy = read_parts(walk, start, end, depth)
    if len(shape) > MAX_AXES:
        raise WireError(start, f"a blob has {len(shape)} axes, more than Caffe's {MAX_AXES}")
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise WireError(start, f"a blob of shape {tuple(shape)} holds {values.size} values")
    shaped = values.reshape(shape)
    if legacy:
        shaped = shaped.view(LegacyBlob)
    shaped.flags.writeable = False
    return shaped


def read_parts(walk: WireReader, start: int, end: int, depth: int) -> tuple[NDArray[Any], list[int], bool]:
    """Values and shape of a blob, whether they fit or not, and whether the shape is made of old-style dims."""
    runs: dict[int, list[NDArray[Any]]] = {}  # the values of a field, from packed and single records in order
    legacy: dict[int, int] = {}
    dims: list[int] = []
    for number, wire, first, second in walk.fields(start, end, depth):
        if number in _TYPES:
            run = _run(walk.data, _TYPES[number], wire, first, second)
            if run is not None:
                runs.setdefault(number, []).append(run)
        elif number == _SHAPE and wire == LENGTH:
            dims += _dims(walk, first, second, depth + 1)
        elif number in _LEGACY_DIMS and wire == VARINT:
            legacy[number] = _signed(first, 32)
    values = _joined(runs.get(_DOUBLE_DATA, []), _TYPES[_DOUBLE_DATA])
    if not values.size:
        values = _joined(runs.get(_DATA, []), _TYPES[_DATA])
    if legacy:
        return values, [legacy.get(number, 0) for number in _LEGACY_DIMS], True
    return values, dims, False


def _run(data: memoryview, dtype: np.dtype[Any], wire: int, first: int, second: int) -> NDArray[Any] | None:
    """The values of one field as the walk gives it; None where its wire type is not the field's."""
    if wire == LENGTH:
        count, rest = divmod(second - first, dtype.itemsize)
        if rest:
            raise WireError(first, f"{second - first} bytes of packed values are not a multiple of {dtype.itemsize}")
        return np.frombuffer(data, dtype, count, first) if count else None
    if wire != (FIXED32 if dtype.itemsize == 4 else FIXED64):
        return None
    return np.ndarray((second,), dtype, data, first, (dtype.itemsize + 1,))


def _joined(runs: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """All values; a view of the file when they lie in one piece."""
    if len(runs) == 1 and runs[0].flags.c_contiguous:
        return runs[0]
    return np.concatenate([np.empty(0, dtype), *runs])


def _dims(walk: WireReader, start: int, end: int, depth: int) -> list[int]:
    dims: list[int] = []
    for number, wire, first, second in walk.fields(start, end, depth):
        if number == _DIM and wire == LENGTH:
            dims += walk.varints(first, second)
        elif number == _DIM and wire == VARINT:
            dims.append(first)
    return [_signed(dim, 64) for dim in dims]


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
