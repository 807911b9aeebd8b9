"""Pieces of protobuf's wire format, for files that are written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .wire import LENGTH, VARINT

CHUNK = 4 << 20  # values that are converted at a time


def varint(value: int) -> bytes:
    """``value`` (negative: two's complement of 64 bits) as a varint."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def number(field: int, value: int) -> bytes:
    """An integer field."""
    return varint(field << 3 | VARINT) + varint(value)


def head(field: int, length: int) -> bytes:
    """The beginning of a field of ``length`` bytes, which follow."""
    return varint(field << 3 | LENGTH) + varint(length)


def text(field: int, value: str) -> bytes:
    """A string field."""
    encoded = value.encode("utf-8")
    return head(field, len(encoded)) + encoded


def blob(values: NDArray[Any], old_dims: bool = False) -> Iterator[bytes | memoryview]:
    """A ``BlobProto`` in pieces: shape, then packed data; float64 as ``double_data``, else float32 as ``data``."""
    yield _blob_head(values, old_dims)
    dtype = np.dtype("<f8" if values.dtype == np.float64 else "<f4")
    flat = values.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        yield np.ascontiguousarray(flat[start : start + CHUNK], dtype).data.cast("B")


def blob_size(values: NDArray[Any], old_dims: bool = False) -> int:
    """How many bytes :func:`blob` yields."""
    return len(_blob_head(values, old_dims)) + values.size * (8 if values.dtype == np.float64 else 4)


def _blob_head(values: NDArray[Any], old_dims: bool) -> bytes:
    if old_dims:
        shape = b"".join(number(field, size) for field, size in enumerate(values.shape, start=1))
    else:
        dims = b"".join(varint(size) for size in values.shape)
        packed = head(1, len(dims)) + dims if dims else b""
        shape = head(7, len(packed)) + packed
    is_double = values.dtype == np.float64
    return shape + head(8 if is_double else 5, values.size * (8 if is_double else 4))
