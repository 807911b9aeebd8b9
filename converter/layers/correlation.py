"""Correlation of two feature maps at several displacements (``correlation_layer.cu`` of FlowNet's fork)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_axes


class Correlation(nn.Module):
    """Mean over channels and a window of a(p) b(p + d), or of |a(p) - b(p + d)|, for each displacement d.

    Args:
        kernel: side of the window, odd.
        reach: largest displacement; the window never leaves the padded maps.
        pad: zeros around both maps.
        stride: from one position p to the next.
        step: from one displacement to the next.
        subtract: the mean of absolute differences.
    """

    def __init__(self, kernel: int, reach: int, pad: int, stride: int, step: int, *, subtract: bool = False) -> None:
        super().__init__()
        self.kernel, self.reach, self.pad, self.stride, self.step = kernel, reach, pad, stride, step
        self.subtract = subtract

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Twice (N, C, H, W) to (N, displacements, H', W'); displacements row by row, from -reach."""
        if a.is_meta:
            return a.new_empty(self.output_shape(a.shape))
        a, b = (F.pad(x, [self.pad] * 4) for x in (a, b))
        height, width = (n - 2 * self.reach for n in a.shape[2:])
        radius = self.reach // self.step
        shifts = [index * self.step for index in range(-radius, radius + 1)]
        inner = a[..., self.reach : self.reach + height, self.reach : self.reach + width]
        maps = []
        for down in shifts:
            for across in shifts:
                y, x = self.reach + down, self.reach + across
                other = b[..., y : y + height, x : x + width]
                product = (inner - other).abs() if self.subtract else inner * other
                maps.append(F.avg_pool2d(product.mean(1, keepdim=True), self.kernel, self.stride))
        return torch.cat(maps, 1)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, displacements, H', W') for bottoms of ``shape``."""
        border = 2 * self.reach + self.kernel - 1
        height, width = (-(-(n + 2 * self.pad - border) // self.stride) for n in shape[2:])
        return shape[0], (2 * (self.reach // self.step) + 1) ** 2, height, width

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, reach={self.reach}, pad={self.pad}, stride={self.stride}, step={self.step}"


@register("Correlation", bottoms=2, tops=1, limits="no single_direction, no do_abs")
def correlation(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """MULTIPLY or SUBTRACT, over displacements up to ``max_displacement`` in steps of ``stride_2``, both ways."""
    need_axes(shapes[0], 4, 4)
    if shapes[1] != shapes[0]:
        raise LayerError(f"both bottoms must have one shape: {list(shapes[0])} and {list(shapes[1])}")
    if not params.is_set("max_displacement") or params.kernel_size % 2 == 0:
        raise LayerError("needs max_displacement and an odd kernel_size")
    if params.single_direction or params.do_abs:
        raise LayerError("single_direction and do_abs are not supported")
    if params.stride_1 < 1 or params.stride_2 < 1:
        raise LayerError("stride_1 and stride_2 must be at least 1")
    border = 2 * params.max_displacement + params.kernel_size - 1
    if min(shapes[0][2:]) + 2 * params.pad <= border:
        raise LayerError(f"displacements and window need more than {border} padded pixels; {list(shapes[0])} has fewer")
    return Correlation(
        params.kernel_size,
        params.max_displacement,
        params.pad,
        params.stride_1,
        params.stride_2,
        subtract=params.correlation_type == "SUBTRACT",
    )
