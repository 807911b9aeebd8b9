"""What a converted graph remembers of its Caffe net, so that it can be written as one again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import fx, nn

from icnet_common.errors import InputError
from prototxt import Layer, Net

from .blobs import Shape
from .names import unique_names
from .registry import INPUT_TYPES
from .wiring import WiredLayer, Wiring


@dataclass(frozen=True)
class BlobRecord:
    """Where one blob of a layer is kept.

    Attributes:
        shape: Caffe's.
        key: the tensor of the layer's module, as in its state dict; None where the module keeps a function of the blob.
    """

    shape: Shape
    key: str | None


@dataclass(frozen=True)
class LayerRecord:
    """The layer that a node computes; ``node.meta["caffe_layer"]``.

    A pass that changes what a node computes replaces the record, or takes it away where Caffe has no such layer.

    Attributes:
        name: the layer's name, made unique.
        layer: as in the text.
        blobs: in Caffe's order.
    """

    name: str
    layer: Layer
    blobs: tuple[BlobRecord, ...] = ()


def remember(graph: fx.GraphModule, wiring: Wiring) -> None:
    """Note the net on a new graph, and on each node its layer."""
    layers = dict(zip((step.name for step in wiring.steps), wiring.net.layers, strict=True))
    steps = {step.name: step for step in wiring.steps}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            name = node.meta["caffe"]
            node.meta["caffe_layer"] = LayerRecord(name, layers[name], tuple(_blob_records(steps[name])))
    graph.graph.output_node().meta["caffe_net"] = wiring.net


def _blob_records(step: WiredLayer) -> Iterator[BlobRecord]:
    assert step.module is not None
    keys: dict[tuple[int, int], str] = {}
    for key, tensor in _tensors(step.module):
        if tensor.is_contiguous():
            keys.setdefault((tensor.data_ptr(), tensor.numel()), key)
    for shape, blob in zip(step.blobs.shapes, step.blobs.taken, strict=True):
        yield BlobRecord(shape, keys.get((blob.data_ptr(), blob.numel())) if blob.numel() else None)


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def original_net(graph: fx.GraphModule) -> Net:
    """The net from which ``graph`` was made, before any pass.

    Raises:
        InputError: the graph does not come from :func:`converter.load_caffe`.
    """
    net: Net | None = graph.graph.output_node().meta.get("caffe_net")
    if net is None:
        raise InputError("the graph does not remember its Caffe net: only what load_caffe returned can be written")
    return net


def net_of(graph: fx.GraphModule) -> Net:
    """The net that ``graph`` computes: the one that was read, with what passes have changed.

    Layers with weights have names of their own, as Caffe's files know a layer by its name.

    Raises:
        InputError: the graph does not come from :func:`converter.load_caffe`, or was rewritten into what Caffe does not
            have.
    """
    net = original_net(graph)
    records: dict[str, LayerRecord] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            if "caffe_layer" not in node.meta:
                raise InputError(f"the rewritten layer {node.target!r} has no form in Caffe; write the plain graph")
            records[node.meta["caffe_layer"].name] = node.meta["caffe_layer"]
    layers = []
    for name, layer in zip(unique_names([layer.name for layer in net.layers]), net.layers, strict=True):
        record = records.get(name)
        if record is not None:
            layers.append(dataclasses.replace(record.layer, name=name) if record.blobs else record.layer)
        elif layer.type in INPUT_TYPES or not layer.tops:
            layers.append(_with_shapes(layer, net))
    return dataclasses.replace(net, layers=tuple(layers))


def _with_shapes(layer: Layer, net: Net) -> Layer:
    """An Input layer with the shapes of ``net.inputs``, which may be others than its text's."""
    if layer.type != "Input" or not layer.params.shape:
        return layer
    dims = [shape.dim for shape in layer.params.shape]
    wanted = [net.inputs[top] for top in layer.tops]
    if wanted == (dims * len(wanted) if len(dims) == 1 else dims):
        return layer
    shapes = tuple(layer.params.shape[0].replace(dim=shape) for shape in wanted)
    return dataclasses.replace(layer, params=layer.params.replace(shape=shapes))


def blobs_of(graph: fx.GraphModule) -> dict[str, list[NDArray[Any]]]:
    """The weights of ``graph`` as Caffe keeps them: for each layer of :func:`net_of` that has some, its blobs in order.

    Raises:
        InputError: as :func:`net_of`.
    """
    blobs = {}
    for node in graph.graph.nodes:
        record = node.meta.get("caffe_layer")
        if record is not None and record.blobs:
            state = dict(_tensors(graph.get_submodule(str(node.target))))
            if any(blob.key is None for blob in record.blobs):
                layer = f"layer {record.name!r} ({record.layer.type})"
                raise InputError(f"{layer}: its weights cannot be given back to Caffe")
            blobs[record.name] = [state[blob.key].detach().cpu().numpy().reshape(blob.shape) for blob in record.blobs]
    return blobs
