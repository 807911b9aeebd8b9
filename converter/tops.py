"""The tops of a net's layers, under the names that activations go by."""

from __future__ import annotations

from dataclasses import dataclass

from prototxt import Net

from .names import unique_names


@dataclass(frozen=True)
class Top:
    """One top of a layer.

    Attributes:
        key: as :func:`converter.activations` names it: an input's blob, the layer for its first top, ``layer:blob``.
        blob: the blob's name.
        layer: the layer's name, made unique.
        type: the layer's type.
        index: which of the layer's tops.
    """

    key: str
    blob: str
    layer: str
    type: str
    index: int


def tops_of(net: Net) -> list[Top]:
    """Every top of every layer, in the net's order."""
    tops = []
    names = unique_names([layer.name for layer in net.layers])
    for layer, name in zip(net.layers, names, strict=True):
        for index, blob in enumerate(layer.tops):
            is_input = not layer.bottoms and blob in net.inputs
            key = blob if is_input else f"{name}:{blob}" if index else name
            tops.append(Top(key, blob, name, layer.type, index))
    return tops
