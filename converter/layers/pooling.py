"""Pooling by Caffe's own rule for sizes and borders (``pooling_layer.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register

_LOWEST = torch.finfo(torch.float32).min
Pair = tuple[int, int]


class Pooling(nn.Module):
    """MAX or AVE pooling.

    The output length is ceil((n + 2 pad - kernel) / stride) + 1 (``round_mode`` FLOOR: floor); where some pad is not
    zero, the last window is dropped if it begins at or beyond n + pad. MAX looks at pixels alone; AVE divides by the
    window's area clipped to n + pad, so it counts padding up to that bound and nothing beyond. The kernel may be larger
    than the input. torch's ``ceil_mode`` is another rule, and its padding is limited to half the kernel.

    Args:
        method: ``"MAX"`` or ``"AVE"``.
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


def pooled_length(n: int, kernel: int, stride: int, pad: int, *, padded: bool, floor: bool = False) -> int:
    """The output length of one axis.

    Args:
        n: length of the input axis.
        kernel, stride, pad: along that axis.
        padded: whether any axis has padding, which is when the last window may be dropped.
        floor: round down instead of up.
    """
    span = n + 2 * pad - kernel
    length = (span // stride if floor else -(-span // stride)) + 1
    if padded and (length - 1) * stride >= n + pad:
        length -= 1
    return length


def pool(x: torch.Tensor, method: str, kernel: Pair, stride: Pair, pad: Pair, size: Pair) -> torch.Tensor:
    """Pool ``x`` (N, C, H, W) to ``size``: pad explicitly to what the last windows need, then let torch pool.

    An empty window, which needs a stride beyond the kernel, gives -FLT_MAX for MAX and NaN for AVE, as in Caffe.
    """
    ends = [
        (length - 1) * s + k - n - p for n, k, s, p, length in zip(x.shape[-2:], kernel, stride, pad, size, strict=True)
    ]
    border = (pad[1], max(ends[1], 0), pad[0], max(ends[0], 0))
    if method == "MAX":
        return F.max_pool2d(_padded(x, border, _LOWEST), kernel, stride)[..., : size[0], : size[1]]
    rows, columns = (
        _extents(n, k, s, p, length) for n, k, s, p, length in zip(x.shape[-2:], kernel, stride, pad, size, strict=True)
    )
    if set(rows) <= {kernel[0]} and set(columns) <= {kernel[1]} and not any(border):
        return F.avg_pool2d(x, kernel, stride)[..., : size[0], : size[1]]
    total = F.avg_pool2d(_padded(x, border, 0.0), kernel, stride, divisor_override=1)[..., : size[0], : size[1]]
    heights, widths = (torch.tensor(extents, dtype=x.dtype, device=x.device) for extents in (rows, columns))
    return total / (heights[:, None] * widths)


def _padded(x: torch.Tensor, border: tuple[int, int, int, int], value: float) -> torch.Tensor:
    return F.pad(x, border, value=value) if any(border) else x


def _extents(n: int, kernel: int, stride: int, pad: int, length: int) -> list[int]:
    """How many positions of each window lie before n + pad."""
    return [max(min(i * stride + kernel, n + 2 * pad) - i * stride, 0) for i in range(length)]


@register("Pooling", bottoms=1, tops=1)
def pooling(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """MAX and AVE over a 4-D bottom; ``global_pooling`` takes the whole plane."""
    shape = shapes[0]
    if len(shape) != 4:
        raise LayerError(f"needs a 4-D bottom, has {list(shape)}")
    if params.pool not in ("MAX", "AVE"):
        raise LayerError(f"pool: {params.pool} is not supported")
    if params.global_pooling:
        if any(params.is_set(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
            raise LayerError("global_pooling leaves no place for a kernel size")
        kernel = (shape[2], shape[3])
    else:
        kernel = _pair(params, "kernel_size", "kernel_h", "kernel_w")
    stride = _pair(params, "stride", "stride_h", "stride_w")
    pad = _pair(params, "pad", "pad_h", "pad_w")
    if min(kernel) < 1 or min(stride) < 1:
        raise LayerError(f"kernel {list(kernel)} and stride {list(stride)} must be at least 1")
    if params.global_pooling and (any(pad) or stride != (1, 1)):
        raise LayerError("global_pooling needs pad 0 and stride 1")
    if any(pad) and (pad[0] >= kernel[0] or pad[1] >= kernel[1]):
        raise LayerError(f"the pad {list(pad)} must be smaller than the kernel {list(kernel)}")
    module = Pooling(params.pool, kernel, stride, pad, floor=params.round_mode == "FLOOR")
    if min(module.output_size(shape)) < 1:
        raise LayerError(f"a kernel of {list(kernel)} leaves nothing of a bottom {list(shape)}")
    return module


def _pair(params: Params, both: str, height: str, width: str) -> Pair:
    if params.is_set(height) or params.is_set(width):
        if params.is_set(both):
            raise LayerError(f"either {both} or {height} and {width} can be given, not both")
        if not (params.is_set(height) and params.is_set(width)):
            raise LayerError(f"{height} and {width} must both be given")
        return params[height], params[width]
    return params[both], params[both]
