"""The formula of each layer type, by Caffe's type string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import Layer

Array = NDArray[Any]
"""Of float64, but for indices on their way."""
Formula = Callable[[Layer, list[Array], list[Array]], list[Array]]

_formulas: dict[str, Formula] = {}


class NoReferenceError(Exception):
    """There is no formula for this layer: its type, or what its parameters ask for."""


def formula(*types: str) -> Callable[[Formula], Formula]:
    """Make a function of (layer, bottoms, blobs) that returns the tops the formula of these types."""

    def decorate(function: Formula) -> Formula:
        _formulas.update(dict.fromkeys(types, function))
        return function

    return decorate


def reference(layer: Layer, bottoms: Sequence[NDArray[Any]], blobs: Sequence[NDArray[Any]]) -> list[Array]:
    """The tops of one layer in float64, computed from the formula of its type as Caffe's TEST phase has it.

    Args:
        layer: a legal layer; nothing that Caffe refuses is looked for.
        bottoms: the value of each bottom, of any real dtype; they are not changed.
        blobs: the layer's weights in Caffe's order, in Caffe's shapes or as legacy four-dimensional blobs.

    Returns:
        One array per top, of type float64.

    Raises:
        NoReferenceError: there is no formula for the type, or for what the parameters ask for.
    """
    if layer.type not in _formulas:
        raise NoReferenceError(f"no formula for layers of type {layer.type!r}")
    exact = [[np.array(value, dtype=np.float64) for value in values] for values in (bottoms, blobs)]
    tops = _formulas[layer.type](layer, *exact)
    return [np.asarray(top, dtype=np.float64) for top in tops[: len(layer.tops)]]


def types() -> tuple[str, ...]:
    """All layer types that have a formula, in alphabetical order."""
    return tuple(sorted(_formulas))
