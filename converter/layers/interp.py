"""Resizing: Interp, with aligned corners, Resize, without, and Upsample.

Upsample is the opposite of a pooling (SegNet's and ENet's forks), or a repetition of pixels (YOLO's forks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_axes, pair


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
def interp(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``interp_layer.cpp``, ``util/interp.cpp`` of PSPNet's and DeepLab's forks: bilinear, with aligned corners.

    The size follows what the text sets: a lone factor wins over height and width, which win over both factors.
    """
    need_axes(shapes[0], 4, 4)
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


class Resize(nn.Module):
    """Resize bilinearly: output i is read at i * n_in / n_out, and what lies beyond the last pixel counts as 0.

    Args:
        size: output (height, width); None: by ``scale``.
        scale: output (height, width) over the input's, cut to integers.
    """

    def __init__(self, size: tuple[int, int] | None, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        height, width = self.output_size(bottom.shape)
        return _along(_along(bottom, height, 2), width, 3)

    def output_size(self, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) of the top for a bottom of ``shape``."""
        return self.size or (int(self.scale[0] * shape[2]), int(self.scale[1] * shape[3]))


def _along(x: torch.Tensor, length: int, axis: int) -> torch.Tensor:
    n = x.shape[axis]
    positions = torch.arange(length, dtype=x.dtype, device=x.device) * (n / length)
    first = positions.floor()
    fractions = (positions - first).reshape(-1, *[1] * (x.dim() - 1 - axis))
    indices = first.long()
    pad = [0, 0] * (x.dim() - 1 - axis) + [0, 1]
    after = F.pad(x, pad).index_select(axis, indices + 1)
    return x.index_select(axis, indices) * (1 - fractions) + after * fractions


@register("Resize", bottoms=1, tops=1, limits="none of the other forks' layers of this name")
def resize(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``resize_layer.cpp`` of the fork with ``is_pyramid_test``: bilinear, from the top left corner.

    To ``height`` and ``width``; with ``is_pyramid_test`` to ``out_height_scale`` and ``out_width_scale`` of the bottom.
    """
    need_axes(shapes[0], 4, 4)
    names = ("out_height_scale", "out_width_scale") if params.is_pyramid_test else ("height", "width")
    if not all(params.is_set(name) for name in names):
        raise LayerError(f"needs {names[0]} and {names[1]}")
    if params.is_pyramid_test:
        scale = (params.out_height_scale, params.out_width_scale)
        if not all(0 < factor < 2**31 for factor in scale):
            raise LayerError(f"the scales {list(scale)} must be above 0")
        module = Resize(None, scale)
    else:
        module = Resize((params.height, params.width))
    if min(module.output_size(shapes[0])) < 1 or min(shapes[0][2:]) < 1:
        raise LayerError(f"nothing of a bottom {list(shapes[0])} is left")
    return module


class Unpooling(nn.Module):
    """Put each value where the mask of a max pooling says, and zero elsewhere.

    Args:
        scale: height and width of the top over those of the bottom.
        trim: pixels less, in height and width (``pad_out_h``, ``pad_out_w``).
        size: height and width of the top, whatever the bottom's.
    """

    def __init__(
        self, scale: tuple[int, int] = (2, 2), trim: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.scale, self.trim, self.size = scale, trim, size

    def forward(self, bottom: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) twice, the second with positions in the top's plane, to (N, C, H', W')."""
        height, width = self.output_size(bottom.shape)
        top = bottom.new_zeros((*bottom.shape[:2], height * width))
        top = top.scatter(2, mask.flatten(2).long(), bottom.flatten(2))
        return top.reshape(*bottom.shape[:2], height, width)

    def output_size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of the top for a bottom of ``shape``."""
        if self.size is not None:
            return self.size
        return shape[2] * self.scale[0] - self.trim[0], shape[3] * self.scale[1] - self.trim[1]

    def extra_repr(self) -> str:
        return f"size={self.size}" if self.size else f"scale={self.scale}, trim={self.trim}"


@register("Upsample", bottoms=(1, 2), tops=1)
def upsample(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``upsample_layer.cpp``: a second bottom is the mask of a max pooling; without it pixels are repeated.

    The size of the top is upsample_h x upsample_w, or the bottom's times the scale, less one pixel with pad_out.
    """
    need_axes(shapes[0], 4, 4)
    if len(shapes) == 1:
        return nn.UpsamplingNearest2d(scale_factor=params.scale)
    if shapes[1] != shapes[0]:
        raise LayerError(f"the mask {list(shapes[1])} must have the shape of the bottom {list(shapes[0])}")
    if params.is_set("upsample_h") and params.is_set("upsample_w"):
        if min(params.upsample_h, params.upsample_w) < 2:
            raise LayerError(f"upsample_h {params.upsample_h} and upsample_w {params.upsample_w} must be above 1")
        return Unpooling(size=(params.upsample_h, params.upsample_w))
    scale = pair(params, "scale")
    trim = (int(params.pad_out_h), int(params.pad_out_w))
    if min(scale) < 2 or any(less and factor != 2 for less, factor in zip(trim, scale, strict=True)):
        raise LayerError(f"the scale {list(scale)} must be above 1, and 2 with pad_out")
    return Unpooling(scale, trim)
