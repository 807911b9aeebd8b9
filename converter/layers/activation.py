"""Non-linear functions of each value, and what a net does to units while it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params

from ..blobs import Blobs
from ..registry import register
from .elementwise import with_default
from .shapes import Shape, canonical_axis, need_another_top, need_axes


@register("ReLU", bottoms=1, tops=1)
def relu(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """max(x, 0) + negative_slope * min(x, 0) (``relu_layer.cpp``)."""
    return nn.LeakyReLU(params.negative_slope) if params.negative_slope else nn.ReLU()


class ClippedReLU(nn.Module):
    """min(max(x, 0) + slope * min(x, 0), limit)."""

    def __init__(self, limit: float, slope: float) -> None:
        super().__init__()
        self.limit, self.slope = limit, slope

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(bottom, self.slope).clamp(max=self.limit)


@register("ReLU6", bottoms=1, tops=1)
def relu6(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """ReLU with an upper limit of ``threshold``, 6 by default (``relu6_layer.cpp`` of mobile nets' forks)."""
    return ClippedReLU(params.threshold, params.negative_slope)


class CReLU(nn.Module):
    """ReLU of x and of -x, one behind the other along an axis."""

    def __init__(self, axis: int = 1, slope: float = 0.0) -> None:
        super().__init__()
        self.axis, self.slope = axis, slope

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(torch.cat([bottom, -bottom], self.axis), self.slope)


@register("CReLU", bottoms=1, tops=1)
def crelu(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """Concatenated ReLU: twice the channels (``crelu_layer.cpp`` of several forks)."""
    need_another_top(layer)
    return CReLU(canonical_axis(params.concat_axis, len(shapes[0])), params.negative_slope)


@register("PReLU", bottoms=1, tops=1)
def prelu(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """max(x, 0) + slope * min(x, 0) (``prelu_layer.cpp``).

    Blob: slopes (C), or () with ``channel_shared``; filler 0.25.
    """
    need_axes(shapes[0], 2)
    shape = () if params.channel_shared else (shapes[0][1],)
    return PReLU(blobs.take(shape, with_default(params, "filler", 0.25)))


class PReLU(nn.Module):
    """max(x, 0) + weight * min(x, 0), with one weight per channel (second axis) or, of shape (), one for all."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return F.prelu(bottom, self.weight.reshape(-1))


class ELU(nn.Module):
    """x for x > 0, alpha * (e^x - 1) below."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return torch.where(bottom > 0, bottom, self.alpha * torch.expm1(bottom.clamp(max=0)))


@register("ELU", bottoms=1, tops=1)
def elu(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """x for x > 0, alpha * (e^x - 1) below (``elu_layer.cpp``)."""
    return ELU(params.alpha)


@register("Sigmoid", bottoms=1, tops=1)
def sigmoid(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """1 / (1 + e^-x) (``sigmoid_layer.cpp``)."""
    return nn.Sigmoid()


@register("TanH", bottoms=1, tops=1)
def tanh(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """The hyperbolic tangent (``tanh_layer.cpp``)."""
    return nn.Tanh()


class BNLL(nn.Module):
    """log(1 + e^x), computed so that neither large nor small values lose digits."""

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom.clamp(min=0) + torch.log1p(torch.exp(-bottom.abs()))


@register("BNLL", bottoms=1, tops=1)
def bnll(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """Binomial normal log likelihood, log(1 + e^x) (``bnll_layer.cpp``)."""
    return BNLL()


class Swish(nn.Module):
    """x * sigmoid(beta * x)."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom * torch.sigmoid(self.beta * bottom)


@register("Swish", bottoms=1, tops=1)
def swish(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """x * sigmoid(beta * x) (``swish_layer.cpp``)."""
    return Swish(params.beta)


class Mish(nn.Module):
    """x * tanh(log(1 + e^x))."""

    def __init__(self) -> None:
        super().__init__()
        self.softplus = BNLL()

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom * torch.tanh(self.softplus(bottom))


@register("Mish", bottoms=1, tops=1)
def mish(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """x * tanh(log(1 + e^x)) (``mish_layer.cpp`` of YOLO's forks)."""
    return Mish()


@register("HardSwish", bottoms=1, tops=1)
def hard_swish(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """x * min(max(x + 3, 0), 6) / 6 (``hard_swish_layer.cpp`` of MobileNetV3's forks)."""
    return nn.Hardswish()


class Factor(nn.Module):
    """Multiply by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom * self.factor


@register("Dropout", "SpatialDropout", bottoms=1, tops=1)
def dropout(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """A copy: the TRAIN phase already scales by 1 / (1 - ratio) (``dropout_layer.cpp``).

    With ``scale_train: false``, of DeepLab's fork, the TEST phase scales by 1 - ratio instead.
    """
    return nn.Identity() if params.scale_train else Factor(1 - params.dropout_ratio)
