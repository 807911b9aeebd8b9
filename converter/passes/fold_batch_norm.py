"""Normalisation with stored statistics, and Scale and Bias layers, folded into the layer before them.

With z = W x + b, linear in x, and y = f z + t, where f and t belong to the output channel,

    y = (f W) x + (f b + t),

which is the same layer with other weights and a bias. Batch normalisation with slope s, shift t', mean m and variance v
has f = s / sqrt(v + e) and t = t' - f m; Scale has its factors and its bias; several of them in a row are again one
such f and t. W may be a convolution, a deconvolution or an inner product: padding adds zeros to x, which W maps to
zero. All products are taken in float64 and rounded once.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import fx, nn

from ..layers.dense import InnerProduct
from ..layers.elementwise import Bias, Scale
from ..layers.normalization import BatchNorm, SegNetBN
from ..record import BlobRecord, LayerRecord
from .rewriting import copied, finished, module_of, only_reader, remove

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


class PerChannel(NamedTuple):
    """y = factor x + shift, with one value of each per channel: (C,), float64."""

    factor: torch.Tensor
    shift: torch.Tensor

    def after(self, first: PerChannel) -> PerChannel:
        """``first``, then this one."""
        return PerChannel(first.factor * self.factor, first.shift * self.factor + self.shift)


class Channels(NamedTuple):
    """The output channels of a layer: how many, which axis of its top they are, and how many axes follow."""

    number: int
    axis: int
    trailing: int


def fold(weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight and bias of the convolution that equals convolution and normalisation together.

    Args:
        weight: (O, I/group, *kernel).
        bias: (O,) or None.
        norm: with running statistics of O channels.

    Returns:
        Weight and bias in ``weight``'s dtype.
    """
    assert norm.running_mean is not None and norm.running_var is not None
    both = _normalisation(norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    factors = both.factor.reshape(-1, *[1] * (weight.dim() - 1))
    return _rounded(weight, factors, bias, both)


def fold_batch_norm(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` in which BN, BatchNorm, Scale and Bias layers are folded into the layer that they follow.

    That layer is a Convolution, Deconvolution or InnerProduct whose top nothing else reads. It keeps its name, and its
    top then holds what the last of the folded layers gave. A layer with the statistics of its own bottom, or whose
    factors are not one per channel, stays. For inference: the stored statistics become constants.
    """
    graph = copied(graph)
    modules = [(node, module_of(graph, node)) for node in graph.graph.nodes]
    for node, module in modules:
        if isinstance(module, Convolution | InnerProduct):
            _fold_readers(graph, node, module)
    return finished(graph)


def _fold_readers(graph: fx.GraphModule, node: fx.Node, linear: Convolution | InnerProduct) -> None:
    channels = _channels(linear)
    total: PerChannel | None = None
    folded: list[fx.Node] = []
    while (reader := only_reader(folded[-1] if folded else node)) is not None:
        part = _per_channel(module_of(graph, reader), channels)
        if part is None or len(reader.all_input_nodes) != 1:
            break
        total = part if total is None else part.after(total)
        folded.append(reader)
    if total is None:
        return
    weight, bias = linear.weight.detach(), None if linear.bias is None else linear.bias.detach()
    weight, bias = _rounded(weight, _factors_of(linear, total.factor), bias, total)
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    _update_record(node, folded[-1], bias)
    folded[-1].replace_all_uses_with(node)
    for reader in reversed(folded):
        remove(graph, reader)


def _channels(linear: Convolution | InnerProduct) -> Channels:
    if isinstance(linear, InnerProduct):
        return Channels(linear.weight.shape[1 if linear.transposed else 0], linear.axis, 0)
    return Channels(linear.out_channels, 1, len(linear.kernel_size))


def _per_channel(module: nn.Module | None, channels: Channels) -> PerChannel | None:
    """What ``module`` does to a bottom with these channels; None where that is not one factor and shift per channel."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and channels.axis == 1:
        if module.running_mean is None or module.running_var is None:
            return None
        return _normalisation(module.running_mean, module.running_var, module.eps, module.weight, module.bias)
    if isinstance(module, BatchNorm) and channels.axis == 1 and not module.own_statistics:
        exact = torch.where(module.factor == 0, 0, 1 / module.factor.double())
        mean, variance = module.running_mean.double() * exact, module.running_var.double() * exact
        return _normalisation(mean, variance, module.eps, module.weight, module.bias)
    if isinstance(module, SegNetBN) and module.eps is None and channels.axis == 1:
        return _affine(module.scale.reshape(-1), module.shift.reshape(-1))
    if isinstance(module, Scale | Bias) and module.trailing == channels.trailing:
        factor = module.weight if isinstance(module, Scale) else module.bias
        if factor is not None and factor.shape == (channels.number,):
            return _affine(factor if isinstance(module, Scale) else torch.ones_like(factor), module.bias)
    return None


def _normalisation(
    mean: torch.Tensor, variance: torch.Tensor, eps: float, slope: torch.Tensor | None, shift: torch.Tensor | None
) -> PerChannel:
    factor = (variance.detach().double() + eps).rsqrt()
    centred = PerChannel(factor, -mean.detach().double() * factor)
    return centred if slope is None else _affine(slope, shift).after(centred)


def _affine(factor: torch.Tensor, shift: torch.Tensor | None) -> PerChannel:
    factor = factor.detach().double()
    return PerChannel(factor, torch.zeros_like(factor) if shift is None else shift.detach().double())


def _factors_of(linear: Convolution | InnerProduct, factor: torch.Tensor) -> torch.Tensor:
    """``factor``, one per output channel, in a shape that broadcasts against the weights of ``linear``."""
    if isinstance(linear, InnerProduct):
        return factor if linear.transposed else factor[:, None]
    ones = [1] * len(linear.kernel_size)
    if not linear.transposed:
        return factor.reshape(-1, 1, *ones)
    inputs = linear.in_channels // linear.groups  # a deconvolution's weights: (I, O / group, *kernel)
    return factor.reshape(linear.groups, -1, *ones).repeat_interleave(inputs, 0)


def _rounded(
    weight: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor | None, total: PerChannel
) -> tuple[torch.Tensor, torch.Tensor]:
    shift = total.shift if bias is None else total.shift + bias.double() * total.factor
    return (weight.double() * factors).to(weight.dtype), shift.to(weight.dtype)


def _update_record(node: fx.Node, last: fx.Node, bias: torch.Tensor) -> None:
    """Tell the text: the layer has a bias now, and the top of the last layer that was folded."""
    record: LayerRecord | None = node.meta.get("caffe_layer")
    folded: LayerRecord | None = last.meta.get("caffe_layer")
    if record is None or folded is None:
        return
    layer = dataclasses.replace(record.layer, tops=folded.layer.tops)
    if not layer.params.bias_term:
        layer = dataclasses.replace(layer, params=layer.params.replace(bias_term=True))
    if any(layer.param_names):
        layer = dataclasses.replace(layer, param_specs=())  # its weights are shared no more
    blobs = (record.blobs[0], BlobRecord(tuple(bias.shape), "bias"))
    node.meta["caffe_layer"] = LayerRecord(record.name, layer, blobs)
