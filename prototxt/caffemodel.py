"""Layers and blobs of a binary net of any generation, as views of its bytes.

Only what every fork of Caffe agrees on is read: names, blobs, and for V0 what its upgrade checks. Fields by number:
NetParameter layers 2 (V0 and V1), input 3, layer 100; LayerParameter name 1, blobs 7; V1LayerParameter layer 1 (V0),
bottom 2, top 3, name 4, blobs 6; V0LayerParameter name 1, type 2, blobs 50. Blobs are ``BlobProto`` and
``Blob::FromProto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import schema
from .upgrade import TYPE_OF_V0, fold_padding
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

_NET_LAYERS, _NET_INPUT, _NET_LAYER = 2, 3, 100

MAX_NAME = 1 << 16  # bytes

Span = tuple[int, int]


@dataclass
class _Source:
    """One layer of the file: the places of its texts and blobs.

    Attributes:
        depth: of the messages of its blobs.
        v0: whether it is a V0 layer; None for V2.
    """

    start: int
    depth: int
    v0: bool | None
    name: Span = (0, 0)
    type: Span | None = None
    bottoms: list[Span] = field(default_factory=list)
    tops: list[Span] = field(default_factory=list)
    blobs: list[Span] = field(default_factory=list)


def read_layers(data: memoryview) -> tuple[int, Iterator[tuple[str, list[NDArray[Any]]]]]:
    """Walk a binary net.

    Returns:
        How many layers it has, and name and blobs of each.

    Raises:
        WireError: the bytes are no net, or Caffe refuses to upgrade it; also while the layers are taken.
    """
    walk = WireReader(data)
    sources: list[_Source] = []
    inputs: list[str] = []
    for number, wire, start, end in walk.fields(0, len(data), 0):
        if wire != LENGTH:
            continue
        if number == _NET_LAYER:
            sources.append(_v2(walk, start, end))
        elif number == _NET_LAYERS:
            sources.append(_v1(walk, start, end))
        elif number == _NET_INPUT:
            inputs.append(_text(data, (start, end)))
    generations = {source.v0 for source in sources}
    if len(generations) > 1:
        raise WireError(sources[-1].start, "the file mixes generations of layers (V0, V1, V2), which Caffe refuses")
    if generations == {True}:
        _check_v0(data, sources, inputs)
    return len(sources), (_blobs_of(walk, data, source) for source in sources)


def _v2(walk: WireReader, start: int, end: int) -> _Source:
    source = _Source(start, 2, None)
    for number, wire, first, second in walk.fields(start, end, 1):
        if wire == LENGTH and number == 7:
            source.blobs.append((first, second))
        elif wire == LENGTH and number == 1:
            source.name = (first, second)
    return source


def _v1(walk: WireReader, start: int, end: int) -> _Source:
    source = _Source(start, 2, False)
    old: list[Span] = []
    for number, wire, first, second in walk.fields(start, end, 1):
        if wire != LENGTH:
            continue
        if number == 1:
            old.append((first, second))
        elif number == 4:
            source.name = (first, second)
        elif number in (2, 3, 6):
            {2: source.bottoms, 3: source.tops, 6: source.blobs}[number].append((first, second))
    if not old:
        return source
    v0 = _Source(start, 3, True, bottoms=source.bottoms, tops=source.tops)
    for message in old:
        for number, wire, first, second in walk.fields(*message, 2):
            if wire == LENGTH and number == 50:
                v0.blobs.append((first, second))
            elif wire == LENGTH and number == 1:
                v0.name = (first, second)
            elif wire == LENGTH and number == 2:
                v0.type = (first, second)
    for blob in source.blobs:
        read_parts(walk, *blob, 2)  # the upgrade drops them, but damage in them is damage of the file
    return v0


def _check_v0(data: memoryview, sources: list[_Source], inputs: list[str]) -> None:
    layers = []
    for source in sources:
        layer = schema.message("V1LayerParameter")(
            bottom=[_text(data, span) for span in source.bottoms], top=[_text(data, span) for span in source.tops]
        )
        if source.type is not None:
            layer.layer.type = _text(data, source.type)
            if layer.layer.type not in (*TYPE_OF_V0, "padding"):
                raise WireError(source.start, f"{layer.layer.type!r} is no type of a V0 layer")
        layers.append(layer)
    fold_padding(layers, inputs, lambda index, text: WireError(sources[index].start, f"layer {index}: {text}"))


def _blobs_of(walk: WireReader, data: memoryview, source: _Source) -> tuple[str, list[NDArray[Any]]]:
    name = _text(data, source.name)
    blobs = []
    for index, (start, end) in enumerate(source.blobs):
        try:
            blobs.append(read_blob(walk, start, end, source.depth))
        except WireError as damage:
            raise WireError(damage.offset, f"layer {name!r}, blob {index}: {damage}") from None
    return name, blobs


def _text(data: memoryview, span: Span) -> str:
    if span[1] - span[0] > MAX_NAME:
        raise WireError(span[0], f"a name of {span[1] - span[0]} bytes")
    return bytes(data[span[0] : span[1]]).decode("utf-8", "replace")


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
