"""Pooling by Caffe's own rule for sizes and borders (``pooling_layer.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_axes, pair

_LOWEST = torch.finfo(torch.float32).min
Pair = tuple[int, int]


class Pooling(nn.Module):
    """MAX, AVE or STOCHASTIC pooling.

    The output length is ceil((n + 2 pad - kernel) / stride) + 1 (``round_mode`` FLOOR: floor); where some pad is not
    zero, the last window is dropped if it begins at or beyond n + pad. MAX looks at pixels alone; AVE divides by the
    window's area clipped to n + pad, so it counts padding up to that bound and nothing beyond; STOCHASTIC, at test
    time, is the sum of squares over the sum. The kernel may be larger than the input. torch's ``ceil_mode`` is another
    rule, and its padding is limited to half the kernel.

    Args:
        method: ``"MAX"``, ``"AVE"`` or ``"STOCHASTIC"``.
        kernel, stride, pad: (height, width).
        floor: round down instead of up (``round_mode: FLOOR`` of upstream Caffe).
    """

    def __init__(
        self, method: str, kernel: Pair, stride: Pair = (1, 1), pad: Pair = (0, 0), *, floor: bool = False
    ) -> None:
        super().__init__()
        self.method, self.kernel, self.stride, self.pad, self.floor = method, kernel, stride, pad, floor

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        return pool(bottom, self.method, self.kernel, self.stride, self.pad, self.output_size(bottom.shape))

    def output_size(self, shape: Sequence[int]) -> Pair:
        """The (height, width) of the top for a bottom of ``shape``."""
        padded = any(self.pad)
        height, width = (
            pooled_length(n, k, s, p, padded=padded, floor=self.floor)
            for n, k, s, p in zip(shape[-2:], self.kernel, self.stride, self.pad, strict=True)
        )
        return height, width

    def extra_repr(self) -> str:
        return f"{self.method}, kernel={self.kernel}, stride={self.stride}, pad={self.pad}"


class GlobalPooling(nn.Module):
    """MAX, AVE or STOCHASTIC pooling of the whole plane, whatever its size."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, 1, 1)."""
        if self.method == "MAX":
            return bottom.amax((-2, -1), keepdim=True)
        mean = bottom.mean((-2, -1), keepdim=True)
        if self.method == "AVE":
            return mean
        return torch.where(mean > 0, (bottom * bottom).mean((-2, -1), keepdim=True) / mean, 0)

    def extra_repr(self) -> str:
        return self.method


class MaxPoolingWithMask(Pooling):
    """MAX pooling with a second top: where in the bottom's plane each maximum lies, counted row by row, as numbers.

    The first of equal values counts; a window without any has -1.
    """

    def forward(self, bottom: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """(N, C, H, W) to the maxima and their positions, both (N, C, H', W')."""
        size = self.output_size(bottom.shape)
        if 0 in size:
            empty = bottom.new_empty((*bottom.shape[:2], *size))
            return empty, empty
        left, right, top, bottom_end = _border(bottom.shape, self.kernel, self.stride, self.pad, size)
        x = _padded(bottom, (left, right, top, bottom_end), _LOWEST)
        values, places = F.max_pool2d(x, self.kernel, self.stride, return_indices=True)
        values, places = (tensor[..., : size[0], : size[1]] for tensor in (values, places))
        width = bottom.shape[-1] + left + right
        rows = torch.div(places, width, rounding_mode="floor") - top
        mask = rows * bottom.shape[-1] + (places % width - left)
        return values, torch.where(values == _LOWEST, -1, mask).to(bottom.dtype)


def pooled_length(n: int, kernel: int, stride: int, pad: int, *, padded: bool, floor: bool = False) -> int:
    """The output length of one axis.

    Args:
        n: length of the input axis.
        kernel, stride, pad: along that axis.
        padded: whether any axis has padding, which is when the last window may be dropped.
        floor: round down instead of up.
    """
    span = n + 2 * pad - kernel
    length = (span if floor else span + stride - 1) // stride + 1
    return torch.sym_min(length, (n + pad - 1) // stride + 1) if padded else length  # type: ignore


def pool(x: torch.Tensor, method: str, kernel: Pair, stride: Pair, pad: Pair, size: Pair) -> torch.Tensor:
    """Pool ``x`` (N, C, H, W) to ``size``: pad explicitly to what the last windows need, then let torch pool.

    An empty window, which needs a stride beyond the kernel, gives -FLT_MAX for MAX and NaN for AVE, as in Caffe.
    Written so that torch.export can leave the size open: nothing but constants decides which way to go.
    """
    if any(_is_zero(length) for length in size):
        return x.new_empty((*x.shape[:2], *size))
    border = _border(x.shape, kernel, stride, pad, size)
    if method == "MAX":
        lowest = max(_LOWEST, torch.finfo(x.dtype).min)  # half precision does not reach Caffe's
        return F.max_pool2d(_padded(x, border, lowest), kernel, stride)[..., : size[0], : size[1]]
    if method == "STOCHASTIC":
        mean = _means(x, border, kernel, stride, size)
        return torch.where(mean > 0, _means(x * x, border, kernel, stride, size) / mean, 0)
    if all(map(_is_zero, border)):
        return F.avg_pool2d(x, kernel, stride)[..., : size[0], : size[1]]
    heights, widths = (
        _extents(x, n, k, s, p, length)
        for n, k, s, p, length in zip(x.shape[-2:], kernel, stride, pad, size, strict=True)
    )
    return _means(x, border, kernel, stride, size) * (kernel[0] * kernel[1] / (heights[:, None] * widths))


def _border(shape: Sequence[int], kernel: Pair, stride: Pair, pad: Pair, size: Pair) -> tuple[int, int, int, int]:
    """Padding at the left, right, top and bottom up to the end of the last windows."""
    ends = [
        (length - 1) * s + k - n - p for n, k, s, p, length in zip(shape[-2:], kernel, stride, pad, size, strict=True)
    ]
    return pad[1], torch.sym_max(ends[1], 0), pad[0], torch.sym_max(ends[0], 0)  # type: ignore


def _is_zero(n: int) -> bool:
    """Whether ``n`` is 0 whatever the size of the bottom; torch.export's symbols are no int."""
    return isinstance(n, int) and n == 0


def _padded(x: torch.Tensor, border: tuple[int, int, int, int], value: float) -> torch.Tensor:
    return x if all(map(_is_zero, border)) else F.pad(x, border, value=value)


def _means(x: torch.Tensor, border: tuple[int, int, int, int], kernel: Pair, stride: Pair, size: Pair) -> torch.Tensor:
    """Sums over the windows, divided by the kernel's area (ONNX knows no other divisor)."""
    return F.avg_pool2d(_padded(x, border, 0.0), kernel, stride)[..., : size[0], : size[1]]


def _extents(x: torch.Tensor, n: int, kernel: int, stride: int, pad: int, length: int) -> torch.Tensor:
    """How many positions of each window along an axis of n pixels lie before n + pad: (length,), as ``x``'s values."""
    starts = torch.arange(length, device=x.device) * stride
    return ((starts + kernel).clamp(max=n + 2 * pad) - starts).clamp(min=0).to(x.dtype)


@register("Pooling", bottoms=1, tops=(1, 2))
def pooling(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """The maximum, average or stochastic mean of windows of a 4-D bottom; ``global_pooling`` takes the whole plane.

    A second top of MAX is the mask that Upsample reads.
    """
    shape = shapes[0]
    need_axes(shape, 4, 4)
    if len(layer.tops) > 1 and params.pool != "MAX":
        raise LayerError(f"pool: {params.pool} has one top; a mask is for MAX")
    return build(params, shape, mask=len(layer.tops) > 1)


def build(params: Params, shape: Shape, *, mask: bool = False) -> nn.Module:
    """The module for a ``PoolingParameter`` and a 4-D bottom of ``shape``.

    Raises:
        LayerError: sizes that are missing, given twice or impossible.
    """
    kernel = _kernel(params, shape)
    stride, pad = pair(params, "stride"), pair(params, "pad")
    if min(kernel) < 1 or min(stride) < 1:
        raise LayerError(f"kernel {list(kernel)} and stride {list(stride)} must be at least 1")
    if params.global_pooling and (any(pad) or stride != (1, 1)):
        raise LayerError("global_pooling needs pad 0 and stride 1")
    if params.global_pooling and not mask:
        return GlobalPooling(params.pool)
    if any(pad) and params.pool == "STOCHASTIC":
        raise LayerError("stochastic pooling has no padding")
    if any(pad) and (pad[0] >= kernel[0] or pad[1] >= kernel[1]):
        raise LayerError(f"the pad {list(pad)} must be smaller than the kernel {list(kernel)}")
    kind = MaxPoolingWithMask if mask else Pooling
    module = kind(params.pool, kernel, stride, pad, floor=params.round_mode == "FLOOR")
    if min(module.output_size(shape)) < 0:
        raise LayerError(f"a kernel of {list(kernel)} leaves nothing of a bottom {list(shape)}")
    return module


def _kernel(params: Params, shape: Shape) -> Pair:
    sides = params.is_set("kernel_h"), params.is_set("kernel_w")
    if params.global_pooling:
        if params.is_set("kernel_size") or any(sides):
            raise LayerError("global_pooling leaves no place for a kernel size")
        return shape[2], shape[3]
    if params.is_set("kernel_size") == all(sides):
        raise LayerError("needs either kernel_size, or kernel_h and kernel_w")
    return (params.kernel_h, params.kernel_w) if all(sides) else (params.kernel_size, params.kernel_size)


class SPP(nn.Module):
    """Spatial pyramid pooling: level i has 2^i by 2^i windows; their values stand one behind another."""

    def __init__(self, levels: Sequence[Pooling]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C (1 + 4 + 16 + ...)); a pyramid of one level stays (N, C, 1, 1)."""
        if len(self.levels) == 1:
            return self.levels[0](bottom)  # type: ignore[no-any-return]
        return torch.cat([level(bottom).flatten(1) for level in self.levels], 1)


@register("SPP", bottoms=1, tops=1)
def spp(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``spp_layer.cpp``: per level a kernel and stride of ceil(n / bins), and as pad half of what then overhangs."""
    shape = shapes[0]
    need_axes(shape, 4, 4)
    if params.pyramid_height < 1:
        raise LayerError("pyramid_height must be at least 1")
    if min(shape[2:]) < 1:
        raise LayerError(f"needs a bottom with pixels, has {list(shape)}")
    return SPP([_level(params.pool, 2**level, shape) for level in range(params.pyramid_height)])


def _level(method: str, bins: int, shape: Shape) -> Pooling:
    height, width = (-(-n // bins) for n in shape[2:])
    pad = (height * bins - shape[2] + 1) // 2, (width * bins - shape[3] + 1) // 2
    if any(pad) and (method == "STOCHASTIC" or pad[0] >= height or pad[1] >= width):
        raise LayerError(f"{bins}x{bins} windows do not fit a bottom {list(shape)}")
    return Pooling(method, (height, width), (height, width), pad)
