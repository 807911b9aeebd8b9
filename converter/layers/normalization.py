"""Normalisation: by stored statistics, by those of the bottom, or by neighbouring values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .elementwise import with_default
from .shapes import Shape, in_place, legacy_shape, need_axes


@register("BN", "BNData", bottoms=1, tops=1, limits="none of SegNet's further tops")
def bn(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """(x - mean) * (variance + eps)^-0.5 * slope + bias (``bn_layer.cpp`` of the PSPNet fork).

    Blobs: slope, bias, running mean, running variance, each 1xCx1x1. Caffe's momentum weighs the old value, torch's the
    new one. Where the text sets a parameter of SegNet's and ENet's layer of that name, it is theirs: blobs scale and
    shift; ``bn_mode: INFERENCE`` is x * scale + shift, LEARN normalises x by the batch's own statistics first.
    """
    need_axes(shapes[0], 4, 4)
    channels = shapes[0][1]
    shape = (1, channels, 1, 1)
    if any(params.is_set(name) for name in ("scale_filler", "shift_filler", "bn_mode", "var_eps")):
        scale, shift = blobs.take(shape, params.scale_filler), blobs.take(shape, params.shift_filler)
        eps = params.var_eps if params.is_set("var_eps") else 1e-9
        return SegNetBN(scale, shift, eps if params.bn_mode == "LEARN" else None)
    module = nn.BatchNorm2d(channels, eps=params.eps, momentum=1.0 - params.momentum, device="meta")
    module.weight = nn.Parameter(blobs.take(shape, params.slope_filler).detach().reshape(-1))
    module.bias = nn.Parameter(blobs.take(shape, params.bias_filler).detach().reshape(-1))
    module.running_mean = blobs.take(shape).detach().reshape(-1)
    module.running_var = blobs.take(shape).detach().reshape(-1)
    module.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return module


class SegNetBN(nn.Module):
    """x * scale + shift; with an ``eps``, of x normalised by the batch's mean and variance per channel."""

    def __init__(self, scale: nn.Parameter, shift: nn.Parameter, eps: float | None = None) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift
        self.eps = eps

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        if self.eps is not None:
            bottom = normalized(bottom, self.eps)
        return bottom * self.scale + self.shift


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), over all axes but the second.

    The stored mean and variance are sums, to be divided by the stored factor; a factor of 0 makes them 0.

    Args:
        running_mean, running_var: (C,), before the division.
        factor: (1,).
        eps: added to the variance.
        own_statistics: use the mean and variance of the bottom instead.
        weight, bias: (C,), applied afterwards (NVIDIA's fork).
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    factor: torch.Tensor

    def __init__(
        self,
        running_mean: torch.Tensor,
        running_var: torch.Tensor,
        factor: torch.Tensor,
        eps: float,
        *,
        own_statistics: bool = False,
        weight: nn.Parameter | None = None,
        bias: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("running_mean", running_mean.detach())
        self.register_buffer("running_var", running_var.detach())
        self.register_buffer("factor", factor.detach())
        self.eps, self.own_statistics = eps, own_statistics
        self.weight, self.bias = weight, bias

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape."""
        if self.own_statistics:
            x = normalized(bottom, self.eps)
            neutral = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
            return x if self.weight is None else F.batch_norm(x, *neutral, self.weight, self.bias, eps=0.0)
        mean, variance = self.statistics()
        return F.batch_norm(bottom, mean, variance, self.weight, self.bias, eps=self.eps)

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance, (C,) each."""
        scale = torch.where(self.factor == 0, 0, 1 / self.factor)
        return self.running_mean * scale, self.running_var * scale

    def extra_repr(self) -> str:
        return f"{self.running_mean.numel()}, eps={self.eps:g}" + (", own statistics" if self.own_statistics else "")


def normalized(x: torch.Tensor, eps: float) -> torch.Tensor:
    """``x`` less its mean over its standard deviation, per channel (the second axis)."""
    axes = [0, *range(2, x.dim())]
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt()


@register("BatchNorm", bottoms=1, tops=1)
def batch_norm(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``batch_norm_layer.cpp``: without scale and bias, which are a Scale layer's; the TEST phase uses what is stored.

    Blobs: sum of means (C), sum of variances (C), factor (1) by which both are divided; a factor of 0 means 0. With
    ``use_global_stats: false`` the statistics are the bottom's own. NVIDIA's fork has two further blobs, scale (C) and
    bias (C), with ``scale_bias``, ``scale_filler`` or ``bias_filler``.
    """
    need_axes(shapes[0], 2)
    if any(spec.lr_mult != 0 for spec in layer.param_specs[:3]):
        raise LayerError("its statistics are not learned: param blocks of a BatchNorm need lr_mult: 0")
    channels = shapes[0][1]
    mean, variance, factor = blobs.take((channels,)), blobs.take((channels,)), blobs.take((1,))
    weight = bias = None
    if params.scale_bias or params.is_set("scale_filler") or params.is_set("bias_filler"):
        weight = blobs.take((channels,), with_default(params, "scale_filler", 1.0))
        bias = blobs.take((channels,), params.bias_filler)
    own = params.is_set("use_global_stats") and not params.use_global_stats
    return BatchNorm(mean, variance, factor, params.eps, own_statistics=own, weight=weight, bias=bias)


class LRNInPlace(nn.Module):
    """(k + alpha / size * sum of squares)^(-2 beta), over ``size`` channels.

    What Caffe gives when the top is the bottom: the factor takes the place of x before x is multiplied by it.
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        squares = F.pad(bottom.square().unsqueeze(1), (0, 0, 0, 0, self.size // 2, self.size // 2))
        mean = F.avg_pool3d(squares, (self.size, 1, 1), 1).squeeze(1)
        return (self.k + self.alpha * mean).pow(-2 * self.beta)


class LRNWithinChannel(nn.Module):
    """x * (1 + alpha * mean of the squares in the window)^-beta; the mean counts the zeros of the padding."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        mean = F.avg_pool2d(bottom.square(), self.size, 1, self.size // 2)
        return bottom * (1 + self.alpha * mean).pow(-self.beta)


@register("LRN", bottoms=1, tops=1)
def lrn(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``lrn_layer.cpp``: x * (k + alpha / size * sum of squares)^-beta over ``local_size`` channels.

    WITHIN_CHANNEL: over local_size x local_size pixels instead, with 1 for k, whatever the text says.
    """
    need_axes(shapes[0], 4, 4)
    size = params.local_size
    if size % 2 == 0:
        raise LayerError(f"local_size must be odd, not {size}")
    if params.norm_region == "WITHIN_CHANNEL":
        return LRNWithinChannel(size, params.alpha, params.beta)
    if in_place(layer):
        return LRNInPlace(size, params.alpha, params.beta, params.k)
    return nn.LocalResponseNorm(size, params.alpha, params.beta, params.k)


class MVN(nn.Module):
    """Subtract the mean; divide by the standard deviation plus eps. Per channel, or over all channels of an image."""

    def __init__(self, *, variance: bool, across_channels: bool, eps: float) -> None:
        super().__init__()
        self.variance, self.eps = variance, eps
        self.axes = (1, 2, 3) if across_channels else (2, 3)

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """Up to four axes, which become (N, C, H, W)."""
        x = bottom.reshape(*bottom.shape, *[1] * (4 - bottom.dim()))
        x = x - x.mean(self.axes, keepdim=True)
        if self.variance:
            x = x / (x.square().mean(self.axes, keepdim=True).sqrt() + self.eps)
        return x


@register("MVN", bottoms=1, tops=1)
def mvn(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``mvn_layer.cpp``: x - mean, with ``normalize_variance`` over sqrt(variance) + eps; the top is 4-D."""
    legacy_shape(shapes[0])
    return MVN(variance=params.normalize_variance, across_channels=params.across_channels, eps=params.eps)


class Normalize(nn.Module):
    """x / sqrt(sum of squares + eps) * scale: the sum over the channels of a pixel, or over the whole image.

    Args:
        scale: (C,), or () for one factor for all channels.
        eps: added to the sum.
        across_spatial: sum over channels and pixels.
    """

    def __init__(self, scale: nn.Parameter, eps: float, *, across_spatial: bool) -> None:
        super().__init__()
        self.scale = scale
        self.eps, self.across_spatial = eps, across_spatial

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape."""
        axes = [*range(1, bottom.dim())] if self.across_spatial else [1]
        norm = (bottom.square().sum(axes, keepdim=True) + self.eps).sqrt()
        scale = self.scale.reshape(-1, *[1] * (bottom.dim() - 2)) if self.scale.dim() else self.scale
        return bottom / norm * scale


@register("Normalize", bottoms=1, tops=1)
def normalize(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``normalize_layer.cpp`` of SSD's fork: L2 norm of a pixel or an image, times a learned scale.

    Blob: scale, () with ``channel_shared`` (the default), else (C); filler 1.
    """
    need_axes(shapes[0], 2, 4)
    shape = () if params.channel_shared else (shapes[0][1],)
    scale = blobs.take(shape, with_default(params, "scale_filler", 1.0))
    return Normalize(scale, params.eps, across_spatial=params.across_spatial)
