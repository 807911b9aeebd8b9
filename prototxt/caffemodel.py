"""Layers and blobs of a binary net of any generation, as views of its bytes.

Only what every fork of Caffe agrees on is read: names, blobs, and for V0 what its upgrade checks. Fields by number:
NetParameter layers 2 (V0 and V1), input 3, layer 100; LayerParameter name 1, blobs 7; V1LayerParameter layer 1 (V0),
bottom 2, top 3, name 4, blobs 6; V0LayerParameter name 1, type 2, blobs 50.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from . import schema
from .blobs import read_blob, read_parts
from .upgrade import TYPE_OF_V0, fold_padding
from .wire import LENGTH, WireError, WireReader

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
