"""Im2col: the windows of a convolution as channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis
from .windows import Window, window


class Im2col(nn.Module):
    """(*, C, *lengths) to (*, C * kernel's size, *positions); a channel's kernel positions follow one another."""

    def __init__(self, axis: int, moving: Window) -> None:
        super().__init__()
        self.axis, self.window = axis, moving

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        moving, first = self.window, self.axis + 1
        dims = bottom.dim() - first
        x = F.pad(bottom, [pad for pad in reversed(moving.pad) for _ in range(2)])
        for index in range(dims):
            x = x.unfold(first + index, moving.extent[index], moving.stride[index])[..., :: moving.dilation[index]]
        order = [*range(first), *range(first + dims, first + 2 * dims), *range(first, first + dims)]
        return x.permute(order).flatten(self.axis, self.axis + dims)


@register("Im2col", bottoms=1, tops=1, limits="no dilation of 0, no kernel beyond the padded bottom")
def im2col(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``im2col_layer.cpp``: each output position holds the values under the kernel there, zero in the padding."""
    shape = shapes[0]
    axis = canonical_axis(params.axis, len(shape))
    moving = window(params, len(shape) - axis - 1)
    if not moving.kernel:
        raise LayerError(f"a bottom {list(shape)} has no spatial axis after axis {axis}")
    if min(moving.dilation) < 1 or min(moving.spans(shape[axis + 1 :])) < 0:
        raise LayerError(f"a window of {list(moving.extent)} is not supported on a bottom {list(shape)}")
    return Im2col(axis, moving)
