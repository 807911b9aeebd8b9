"""The formula of each layer type, by Caffe's type string, and a whole net by the formulas alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import Layer, Net

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


def forward(
    net: Net, inputs: Mapping[str, NDArray[Any]], blobs: Mapping[str, Sequence[NDArray[Any]]]
) -> list[list[Array]]:
    """The tops of every layer of ``net``, computed in float64 from the layers' formulas, in the net's order.

    Args:
        net: a legal net.
        inputs: the value of each input blob (:attr:`Net.inputs`).
        blobs: the weights by layer name, in Caffe's order. As in Caffe, a name belongs to the first layer that has it;
            blobs that share a name (``param { name }``) are the ones that came last.

    Returns:
        For each of ``net.layers`` its tops; those of layers that feed the net are the inputs.

    Raises:
        NoReferenceError: a layer has no formula.
        KeyError: an input is missing.
    """
    values: dict[str, NDArray[Any]] = {}
    own = _with_shared(net, blobs)
    tops: list[list[Array]] = []
    for layer, weights in zip(net.layers, own, strict=True):
        if layer.tops and all(top in net.inputs for top in layer.tops) and not layer.bottoms:
            tops.append([inputs[top] for top in layer.tops])
        else:
            tops.append(reference(layer, [values[bottom] for bottom in layer.bottoms], weights))
        values.update(zip(layer.tops, tops[-1], strict=True))
    return tops


def _with_shared(net: Net, blobs: Mapping[str, Sequence[NDArray[Any]]]) -> list[list[NDArray[Any]]]:
    """The blobs of each layer, shared ones included."""
    given: set[str] = set()
    own: list[list[NDArray[Any]]] = []
    shared: dict[str, NDArray[Any]] = {}
    for layer in net.layers:
        stored = list(blobs.get(layer.name, ())) if layer.name not in given else []
        given.add(layer.name)
        own.append(stored or list(layer.blobs))
        shared.update((name, blob) for name, blob in zip(layer.param_names, own[-1], strict=False) if name)
    for layer, weights in zip(net.layers, own, strict=True):
        for index, name in enumerate(layer.param_names):
            if name in shared:
                weights[index : index + 1] = [shared[name]]
    return own
