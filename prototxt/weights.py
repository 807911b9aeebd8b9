"""Weights of a binary caffemodel: blobs by layer name, as views of the file (``Net::CopyTrainedLayersFrom``)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blobs import read_blob
from .errors import WeightsError
from .wire import LENGTH, Damage, Walk

MAP_FROM = 64 << 20  # bytes; a mapped file that shrinks kills the process, so smaller ones are read into memory

Blobs = list[NDArray[Any]]

_NET_LAYERS_V1, _NET_LAYER = 2, 100


def read_weights(path: str | os.PathLike[str]) -> dict[str, Blobs]:
    """Read the trained blobs of a net.

    Args:
        path: a binary ``.caffemodel`` of any generation.

    Returns:
        Layer name to its blobs in order, for the layers that have blobs; a name that the file repeats keeps its last
        layer, as in Caffe, and layers without a name share ``""``. The arrays are float32 (float64 where the file holds
        doubles), read-only, and views of the file: copy them before handing them to torch. Old-style dims stay 4-D.

    Raises:
        WeightsError: the file cannot be read, is damaged or is something else.
    """
    path = Path(path)
    data = _bytes_of(path)
    walk = Walk(data)
    weights: dict[str, Blobs] = {}
    if not any(data[:1]) and not np.frombuffer(data, np.uint8).any():
        return weights
    try:
        for name, blobs in _layers(walk, data):
            if blobs:
                weights[name] = blobs
    except Damage as damage:
        raise WeightsError(f"{path}: not a caffemodel, or damaged: at byte {damage.offset}: {damage}") from None
    return weights


def _bytes_of(path: Path) -> memoryview:
    try:
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size >= MAP_FROM:
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ))
            content = np.empty(size, np.uint8)
            filled = 0
            while filled < size and (count := stream.readinto(content.data[filled:])):
                filled += count
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    content.flags.writeable = False
    return content.data[:filled]


def _layers(walk: Walk, data: memoryview) -> Iterator[tuple[str, Blobs]]:
    for number, wire, start, end in walk.fields(0, len(data), 0):
        if wire == LENGTH and number == _NET_LAYER:
            yield _layer(walk, data, start, end, name_field=1, blobs_field=7)
        elif wire == LENGTH and number == _NET_LAYERS_V1:
            yield _layer(walk, data, start, end, name_field=4, blobs_field=6)


def _layer(walk: Walk, data: memoryview, start: int, end: int, name_field: int, blobs_field: int) -> tuple[str, Blobs]:
    name, blobs = b"", []
    for number, wire, first, second in walk.fields(start, end, 1):
        if wire == LENGTH and number == name_field:
            name = bytes(data[first:second])
        elif wire == LENGTH and number == blobs_field:
            blobs.append(read_blob(walk, data, first, second, 2))
    return name.decode("utf-8", "replace"), blobs
