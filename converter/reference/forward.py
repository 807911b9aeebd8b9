"""A whole net, layer after layer, by the formulas alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from prototxt import Net

from .registry import Array, reference


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
