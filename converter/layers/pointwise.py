"""Arithmetic on each value, without learned parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_another_top


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
            return torch.full_like(bottom, self._constant())
        x = bottom if self.scale == 1 else bottom * self.scale
        x = x if self.shift == 0 else x + self.shift
        return x if self.power == 1 else x.pow(self.power)

    def _constant(self) -> float:
        return 1.0 if self.power == 0 else float(torch.tensor(self.shift, dtype=torch.float64).pow(self.power))

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
    return Exp(log_base * params.scale, _exp(log_base * params.shift))


def _exp(x: float) -> float:
    """e^x, infinite where Python would raise an error."""
    return float(torch.tensor(x, dtype=torch.float64).exp())


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
