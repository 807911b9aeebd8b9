"""Functions of each value: activations, Softmax, arithmetic, and what a net does to units while it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
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


@register("Softmax", bottoms=1, tops=1)
def softmax(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """e^x over the sum of e^x along ``axis`` (``softmax_layer.cpp``)."""
    need_axes(shapes[0], 1)
    return nn.Softmax(canonical_axis(params.axis, len(shapes[0])))


@register("TanH", bottoms=1, tops=1)
def tanh(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """The hyperbolic tangent (``tanh_layer.cpp``)."""
    return nn.Tanh()


def softplus(x: torch.Tensor) -> torch.Tensor:
    """log(1 + e^x), computed so that neither large nor small values lose digits."""
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


class BNLL(nn.Module):
    """log(1 + e^x)."""

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return softplus(bottom)


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

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom * torch.tanh(softplus(bottom))


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


class AbsVal(nn.Module):
    """|x|."""

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom.abs()


@register("AbsVal", bottoms=1, tops=1)
def absval(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """|x| (``absval_layer.cpp``)."""
    need_another_top(layer)
    return AbsVal()


class Power(nn.Module):
    """(shift + scale * x)^power; where nothing depends on x (power or scale is 0) a constant."""

    def __init__(self, power: float = 1.0, scale: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.power, self.scale, self.shift = power, scale, shift

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        if self.power * self.scale == 0:
            constant = 1.0 if self.power == 0 else torch.tensor(self.shift, dtype=torch.float64).pow(self.power).item()
            return torch.full_like(bottom, constant)
        x = bottom if self.scale == 1 else bottom * self.scale
        x = x if self.shift == 0 else x + self.shift
        return x if self.power == 1 else x.pow(self.power)

    def extra_repr(self) -> str:
        return f"power={self.power:g}, scale={self.scale:g}, shift={self.shift:g}"


@register("Power", bottoms=1, tops=1)
def power(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """(shift + scale * x)^power (``power_layer.cpp``); its BLAS takes a scale of NaN for 0."""
    return Power(params.power, 0.0 if math.isnan(params.scale) else params.scale, params.shift)


class Exp(nn.Module):
    """outer * e^(inner * x)."""

    def __init__(self, inner: float, outer: float) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return self.outer * torch.exp(self.inner * bottom)


@register("Exp", bottoms=1, tops=1)
def exp(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """base^(scale * x + shift); base -1, the default, is e (``exp_layer.cpp``)."""
    log_base = _log_base(params)
    outer = torch.tensor(log_base * params.shift, dtype=torch.float64).exp()  # infinite where math.exp raises an error
    return Exp(log_base * params.scale, outer.item())


class Log(nn.Module):
    """factor * ln(scale * x + shift)."""

    def __init__(self, scale: float, shift: float, factor: float) -> None:
        super().__init__()
        self.scale, self.shift, self.factor = scale, shift, factor

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return torch.log(bottom * self.scale + self.shift) * self.factor


@register("Log", bottoms=1, tops=1)
def log(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """The logarithm of scale * x + shift to ``base``; -1, the default, is e (``log_layer.cpp``)."""
    log_base = _log_base(params)
    if log_base == 0:
        raise LayerError("there is no logarithm to base 1")
    return Log(params.scale, params.shift, 1 / log_base)


def _log_base(params: Params) -> float:
    if params.base == -1:
        return 1.0
    if not params.base > 0 or math.isinf(params.base):
        raise LayerError(f"the base must be positive, or -1 for e, not {params.base:g}")
    return math.log(params.base)


class Threshold(nn.Module):
    """1 where x > threshold, else 0."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return (bottom > self.threshold).to(bottom.dtype)


@register("Threshold", bottoms=1, tops=1)
def threshold(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """1 where x > threshold, else 0 (``threshold_layer.cpp``)."""
    return Threshold(params.threshold)


class Clip(nn.Module):
    """x, but at least ``least`` and at most ``most``."""

    def __init__(self, least: float, most: float) -> None:
        super().__init__()
        self.least, self.most = least, most

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom.clamp(max=self.most).clamp(min=self.least)


@register("Clip", bottoms=1, tops=1)
def clip(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """max(min, min(x, max)) (``clip_layer.cpp``)."""
    return Clip(params.min, params.max)
