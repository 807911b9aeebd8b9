"""From an ICNet caffemodel to the graph that Caffe would run and to the state dict of :class:`ICNet`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from converter.graph import Weights, translate
from icnet_common.errors import WeightsError
from prototxt import Layer, Net, bundled_net, read_net

from ..icnet import check_size
from ..pyramid import BINS, Pyramid, windows

Blobs = Mapping[str, Sequence[NDArray[Any]]]

MERGED_NET = "icnet_cityscapes"
UNMERGED_NET = "icnet_cityscapes_bnnomerge"
AUXILIARY_HEADS = ("conv6_sub2", "conv6_sub4")
"""Layers that only the training net had; published files carry them."""


def fitting_net(blobs: Blobs, source: str) -> Net:
    """The bundled net to which a file's blobs belong, with the numbers of channels that the file has.

    With batch normalisation layers in the file it is the unmerged net, otherwise the merged one.

    Args:
        blobs: layer name to blobs.
        source: the file, for messages.

    Raises:
        WeightsError: these are not the weights of an ICNet.
    """
    net = icnet_net(blobs)
    convolutions = [layer.name for layer in net.layers if layer.type == "Convolution"]
    present = [name for name in convolutions if name in blobs]
    if len(present) < len(convolutions) // 2:
        found = ", ".join(repr(name) for name in list(blobs)[:3]) or "none"
        raise WeightsError(
            f"{source}: not the weights of an ICNet: it has {len(present)} of ICNet's {len(convolutions)} convolutions "
            f"(its first layers with weights: {found}); for another net give its text with --prototxt"
        )
    return dataclasses.replace(net, layers=tuple(_with_channels(layer, blobs) for layer in net.layers))


def icnet_net(names: Iterable[str]) -> Net:
    """The bundled net for layers of these names: the unmerged one where there are batch normalisation layers."""
    return read_net(bundled_net(UNMERGED_NET if any(name.endswith("/bn") for name in names) else MERGED_NET))


def _with_channels(layer: Layer, blobs: Blobs) -> Layer:
    """A convolution with as many outputs as its weights in the file have, or its batch normalisation if they lack."""
    if layer.type != "Convolution":
        return layer
    if (weights := blobs.get(layer.name)) and weights[0].ndim == 4:
        return _with_params(layer, {"num_output": weights[0].shape[0]})
    if statistics := blobs.get(f"{layer.name}/bn"):
        return _with_params(layer, {"num_output": statistics[0].size})
    return layer


def resized_net(net: Net, size: tuple[int, int], pyramid: Pyramid | None = None) -> Net:
    """An ICNet deploy net for another input size: its input, its pyramid's windows and their Interp sizes rewritten.

    Args:
        net: a deploy net with ICNet's layer names.
        size: (height, width) of the input.
        pyramid: windows and ``interp`` size; None: those of :func:`pytorch_icnet.pyramid.windows`.
    """
    check_size(*size)
    features = ((size[0] - 1) // 32 + 1, (size[1] - 1) // 32 + 1)
    chosen: Pyramid = {**windows(*features), "interp": features} if pyramid is None else pyramid
    layers = []
    for layer in net.layers:
        for bins in BINS:
            if layer.name == f"conv5_3_pool{bins}":
                names = ("kernel_h", "kernel_w", "stride_h", "stride_w")
                layer = _with_params(layer, dict(zip(names, chosen[f"pool{bins}"], strict=True)))
            elif layer.name == f"conv5_3_pool{bins}_interp":
                layer = _with_params(layer, dict(zip(("height", "width"), chosen["interp"], strict=True)))
        if layer.type == "Input":
            shapes = tuple(shape.replace(dim=(*shape.dim[:2], *size)) for shape in layer.params.shape)
            layer = dataclasses.replace(layer, params=layer.params.replace(shape=shapes))
        layers.append(layer)
    inputs = {name: (*shape[:2], *size) for name, shape in net.inputs.items()}
    return dataclasses.replace(net, layers=tuple(layers), inputs=MappingProxyType(inputs))


def _with_params(layer: Layer, changes: dict[str, int]) -> Layer:
    return dataclasses.replace(layer, params=layer.params.replace(**changes))


def pyramid_of(net: Net) -> dict[str, tuple[int, ...]] | None:
    """The pyramid's windows as a deploy net's text gives them, or None where they are the default ones."""
    params = {layer.name: layer.params for layer in net.layers}
    found: dict[str, tuple[int, ...]] = {}
    for bins in BINS:
        pool = params[f"conv5_3_pool{bins}"]
        found[f"pool{bins}"] = (pool.kernel_h, pool.kernel_w, pool.stride_h, pool.stride_w)
    interp = params["conv5_3_pool1_interp"]
    found["interp"] = (interp.height, interp.width)
    default: dict[str, tuple[int, ...]] = {**windows(*found["interp"]), "interp": found["interp"]}
    return None if found == default else found


def state_of(graph: fx.GraphModule, blobs: Blobs) -> dict[str, torch.Tensor]:
    """The state dict of an ICNet from its converted graph, with the auxiliary heads that the file has besides.

    The two agree key by key, as both name modules after Caffe's layers.
    """
    state = {name: value.detach().clone() for name, value in graph.state_dict().items()}
    inputs = {
        "conv6_sub2": state["conv_sub4.weight"].shape[0],
        "conv6_sub4": state["conv5_4_k1.weight"].shape[0],
    }
    heads = {name: blobs.get(name, ()) for name in AUXILIARY_HEADS}
    classes = state["conv6_cls.weight"].shape[0]
    if all(_is_head(heads[name], classes, inputs[name]) for name in AUXILIARY_HEADS):
        for name in AUXILIARY_HEADS:
            for key, blob in zip(("weight", "bias"), heads[name], strict=True):
                value = np.array(blob, dtype=np.float32).reshape(
                    (classes, inputs[name], 1, 1) if key == "weight" else (classes,)
                )
                state[f"{name}.{key}"] = torch.from_numpy(value)
    return state


def _is_head(head: Sequence[NDArray[Any]], classes: int, channels: int) -> bool:
    return [blob.size for blob in head] == [classes * channels, classes] and head[0].ndim == 4


def translate_icnet(path: str | os.PathLike[str], blobs: Blobs) -> fx.GraphModule:
    """The plain graph of an ICNet caffemodel, whose net follows from its blobs.

    Raises:
        WeightsError, WeightsMismatchError: what does not fit; names every layer.
    """
    source = os.fspath(path)
    return translate(fitting_net(blobs, source), Weights(blobs, source))
