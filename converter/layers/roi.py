"""Pooling of regions of interest: boxes (image, left, top, right, bottom) in pixels of the net's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, need_axes

Spans = list[list[tuple[int, int]]]
_LIMITS = "the regions' values decide how it runs, so torch.export and ONNX cannot take it"


class ROIPooling(nn.Module):
    """The maximum of each bin of a region; 0 in a bin without pixels.

    Args:
        size: (rows, columns) of bins.
        scale: pixels of the feature map over those of the image.
    """

    def __init__(self, size: tuple[int, int], scale: float) -> None:
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, features: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and (R, 5) to (R, C, rows, columns)."""
        top = features.new_zeros((regions.shape[0], features.shape[1], *self.size))
        if features.is_meta:
            return top
        regions = regions.flatten(1)
        images = regions[:, 0].long().tolist()
        corners = round_half_away(regions[:, 1:] * self.scale)
        start, extent = corners[:, :2], (corners[:, 2:] - corners[:, :2] + 1).clamp(min=1)
        columns, rows = (
            spans(start[:, axis], extent[:, axis], self.size[1 - axis], features.shape[3 - axis]) for axis in (0, 1)
        )
        for region, i, j, row, column in filled_bins(rows, columns):
            top[region, :, i, j] = features[images[region], :, row, column].amax((1, 2))
        return top

    def extra_repr(self) -> str:
        return f"size={self.size}, scale={self.scale:g}"


class PSROIPooling(nn.Module):
    """The mean of each bin of a region, for each bin from channels of its own; 0 in a bin without pixels.

    Args:
        outputs: channels of the top.
        bins: rows and columns of bins; the bottom has outputs * bins^2 channels.
        scale: pixels of the feature map over those of the image.
    """

    def __init__(self, outputs: int, bins: int, scale: float) -> None:
        super().__init__()
        self.outputs, self.bins, self.scale = outputs, bins, scale

    def forward(self, features: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) and (R, 5) to (R, outputs, bins, bins)."""
        top = features.new_zeros((regions.shape[0], self.outputs, self.bins, self.bins))
        if features.is_meta:
            return top
        regions = regions.flatten(1)
        images = regions[:, 0].long().tolist()
        corners = round_half_away(regions[:, 1:])
        start, end = corners[:, :2] * self.scale, (corners[:, 2:] + 1) * self.scale
        extent = (end - start).clamp(min=0.1)
        columns, rows = (spans(start[:, axis], extent[:, axis], self.bins, features.shape[3 - axis]) for axis in (0, 1))
        maps = features.reshape(-1, self.outputs, self.bins, self.bins, *features.shape[2:])
        for region, i, j, row, column in filled_bins(rows, columns):
            top[region, :, i, j] = maps[images[region], :, i, j, row, column].mean((1, 2))
        return top

    def extra_repr(self) -> str:
        return f"outputs={self.outputs}, bins={self.bins}, scale={self.scale:g}"


def round_half_away(x: torch.Tensor) -> torch.Tensor:
    """To the nearest integer, halves away from zero, as C's ``round``; torch rounds halves to even."""
    return torch.sign(x) * torch.floor(x.abs().double() + 0.5).to(x.dtype)


def spans(start: torch.Tensor, extent: torch.Tensor, bins: int, length: int) -> Spans:
    """First and last (excluded) pixel of each bin along one axis, for each region.

    Bin i goes from floor(start + i extent / bins) to ceil(start + (i + 1) extent / bins), cut to 0 to ``length``.

    Args:
        start, extent: (R,), in pixels of the feature map.
        bins: their number.
        length: of the feature map.
    """
    size = (extent / bins).unsqueeze(1)
    numbers = torch.arange(bins, dtype=start.dtype, device=start.device)
    first = torch.floor(numbers * size + start.unsqueeze(1)).clamp(0, length).long().tolist()
    last = torch.ceil((numbers + 1) * size + start.unsqueeze(1)).clamp(0, length).long().tolist()
    return [list(zip(firsts, lasts, strict=True)) for firsts, lasts in zip(first, last, strict=True)]


def filled_bins(rows: Spans, columns: Spans) -> Iterator[tuple[int, int, int, slice, slice]]:
    """Region, row and column of each bin that has pixels, and its rows and columns of pixels."""
    for region in range(len(rows)):
        for (i, (upper, lower)), (j, (left, right)) in product(enumerate(rows[region]), enumerate(columns[region])):
            if upper < lower and left < right:
                yield region, i, j, slice(upper, lower), slice(left, right)


@register("ROIPooling", bottoms=2, tops=1, limits=_LIMITS)
def roi_pooling(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``roi_pooling_layer.cpp`` of Fast R-CNN's fork: regions with corners rounded to pixels, into equal bins."""
    _check_regions(shapes)
    if params.pooled_h < 1 or params.pooled_w < 1:
        raise LayerError(f"pooled_h {params.pooled_h} and pooled_w {params.pooled_w} must be above 0")
    return ROIPooling((params.pooled_h, params.pooled_w), params.spatial_scale)


@register("PSROIPooling", bottoms=2, tops=1, limits=_LIMITS)
def psroi_pooling(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``psroi_pooling_layer.cu`` of R-FCN's fork: position-sensitive, group_size x group_size bins."""
    _check_regions(shapes)
    bins, outputs = params.group_size, params.output_dim
    if bins < 1 or outputs < 1 or params.spatial_scale <= 0 or shapes[0][1] != outputs * bins * bins:
        raise LayerError(f"{shapes[0][1]} channels are not output_dim {outputs} times group_size {bins} squared")
    return PSROIPooling(outputs, bins, params.spatial_scale)


def _check_regions(shapes: Sequence[Shape]) -> None:
    need_axes(shapes[0], 4, 4)
    regions = shapes[1]
    if len(regions) < 2 or regions[1] != 5 or any(n != 1 for n in regions[2:]):
        raise LayerError(f"the second bottom must be (R, 5), not {list(regions)}")
