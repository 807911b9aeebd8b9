"""Upsample: the opposite of a pooling (SegNet's and ENet's forks), or a repetition of pixels (YOLO's forks)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_axes


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
    scale = _scale(params)
    trim = (int(params.pad_out_h), int(params.pad_out_w))
    if min(scale) < 2 or any(less and factor != 2 for less, factor in zip(trim, scale, strict=True)):
        raise LayerError(f"the scale {list(scale)} must be above 1, and 2 with pad_out")
    return Unpooling(scale, trim)


def _scale(params: Params) -> tuple[int, int]:
    sides = params.is_set("scale_h"), params.is_set("scale_w")
    if not any(sides):
        return params.scale, params.scale
    if params.is_set("scale") or not all(sides):
        raise LayerError("needs upsample_h and upsample_w, or scale, or scale_h and scale_w")
    return params.scale_h, params.scale_w
