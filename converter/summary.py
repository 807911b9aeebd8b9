"""A net as a table, from shapes alone."""

from __future__ import annotations

import math
import os
from typing import Any

from torch import nn

from prototxt import Layer, Net, read_net

from .blobs import Blobs, Shape
from .wiring import Step, Wiring, wire


def summary(prototxt: str | os.PathLike[str] | Net) -> list[dict[str, Any]]:
    """One row per layer of Caffe's net after its upgrades, without the Split layers that Caffe inserts.

    Works without weights, on the meta device.

    Args:
        prototxt: path, text, or a net already read.

    Returns:
        Rows of ``name``, ``type``, ``bottoms``, ``tops`` (lists of str), ``top_shapes``, ``param_shapes`` (lists of
        lists of int), ``parameters`` (number of values in the layer's blobs) and ``macs`` (multiply-accumulates of
        one forward pass; 0 for layers that are not sums of products with weights). ``input:`` fields are one row
        ``input`` of type Input.

    Raises:
        PrototxtError, NetError: what is wrong with the net.
    """
    net = prototxt if isinstance(prototxt, Net) else read_net(prototxt)
    return [_row(step) for step in shapes_of(net).steps]


def shapes_of(net: Net) -> Wiring:
    """``net`` connected on the meta device."""
    owners: dict[str, nn.Parameter] = {}

    def blobs_of(layer: Layer) -> Blobs:
        return Blobs(layer.name, meta=True, shared_names=layer.param_names, owners=owners)

    return wire(net, blobs_of)


def outputs_of(net: Net) -> dict[str, Shape]:
    """The net's output blobs, in Caffe's (alphabetical) order, with their shapes."""
    wiring = shapes_of(net)
    return {name: wiring.steps[wire.step].top_shapes[wire.top] for name, wire in wiring.outputs.items()}


def _row(step: Step) -> dict[str, Any]:
    return {
        "name": step.layer.name,
        "type": step.layer.type,
        "bottoms": list(step.layer.bottoms),
        "tops": list(step.layer.tops),
        "top_shapes": [list(shape) for shape in step.top_shapes],
        "param_shapes": [list(shape) for shape in step.blobs.shapes],
        "parameters": sum(math.prod(shape) for shape in step.blobs.shapes),
        "macs": _macs(step),
    }


def _macs(step: Step) -> int:
    """Each output value of a convolution or an inner product is a sum over one filter."""
    if step.layer.type == "Deconvolution" and step.blobs.shapes:
        per_input = math.prod(step.blobs.shapes[0][1:])
        return sum(math.prod(shape) * per_input for shape in step.bottom_shapes)
    if isinstance(step.module, nn.Module) and step.layer.type in _WEIGHTED and step.blobs.shapes:
        weights = step.blobs.shapes[0]
        per_output = math.prod(weights) // _outputs(step)
        return sum(math.prod(shape) * per_output for shape in step.top_shapes)
    return 0


_WEIGHTED = frozenset(
    {
        "Convolution",
        "ConvolutionData",
        "HoleConvolutionData",
        "ConvolutionDepthwise",
        "DepthwiseConvolution",
        "InnerProduct",
    }
)


def _outputs(step: Step) -> int:
    return int(step.layer.params.num_output)
