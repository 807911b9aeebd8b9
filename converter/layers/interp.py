"""Interp: bilinear resizing with aligned corners (``interp_layer.cpp``, ``util/interp.cpp`` of the PSPNet fork)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register


class Interp(nn.Module):
    """Crop, then resize bilinearly so that the corner pixels keep their values.

    The position of output i is float32((n_in - 1) / (n_out - 1)) * i, and 0 where n_out is 1.

    Args:
        size: output (height, width), whatever the input's; None: by the factors.
        shrink: an axis of n (after cropping) becomes (n - 1) // shrink + 1.
        zoom: an axis of n (after shrinking) becomes n + (n - 1) (zoom - 1).
        crop: (begin, end) in pixels, taken off the top and left, and off the bottom and right.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        *,
        shrink: int = 1,
        zoom: int = 1,
        crop: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.size, self.shrink, self.zoom, self.crop = size, shrink, zoom, crop

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        begin, end = self.crop
        height, width = bottom.shape[-2:]
        x = bottom[..., begin : height - end, begin : width - end] if begin or end else bottom
        size = self.size or (self.scaled(x.shape[-2]), self.scaled(x.shape[-1]))
        if size == tuple(x.shape[-2:]):
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    def scaled(self, n: int) -> int:
        """The output length of an axis of n pixels."""
        n = (n - 1) // self.shrink + 1
        return n + (n - 1) * (self.zoom - 1)

    def extra_repr(self) -> str:
        if self.size:
            return f"size={self.size}" + (f", crop={self.crop}" if any(self.crop) else "")
        return f"shrink={self.shrink}, zoom={self.zoom}" + (f", crop={self.crop}" if any(self.crop) else "")


@register("Interp", bottoms=1, tops=1)
def interp(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """The size follows what the text sets: a lone factor wins over height and width, which win over both factors."""
    if len(shapes[0]) != 4:
        raise LayerError(f"needs a 4-D bottom, has {list(shapes[0])}")
    if params.pad_beg > 0 or params.pad_end > 0:
        raise LayerError(f"pad_beg {params.pad_beg} and pad_end {params.pad_end} must not be positive: they crop")
    crop = (-params.pad_beg, -params.pad_end)
    if min(shapes[0][2:]) <= sum(crop):
        raise LayerError(f"nothing of a bottom {list(shapes[0])} is left after cropping {sum(crop)} pixels")
    shrink, zoom = params.is_set("shrink_factor"), params.is_set("zoom_factor")
    if (shrink and params.shrink_factor < 1) or (zoom and params.zoom_factor < 1):
        raise LayerError("shrink_factor and zoom_factor must be at least 1")
    if shrink != zoom:
        return Interp(shrink=params.shrink_factor if shrink else 1, zoom=params.zoom_factor if zoom else 1, crop=crop)
    if params.is_set("height") and params.is_set("width"):
        if params.height < 1 or params.width < 1:
            raise LayerError(f"the size {params.height}x{params.width} is empty")
        return Interp((params.height, params.width), crop=crop)
    if shrink and zoom:
        return Interp(shrink=params.shrink_factor, zoom=params.zoom_factor, crop=crop)
    raise LayerError("needs shrink_factor, zoom_factor, or height and width")
