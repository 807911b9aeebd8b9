"""The same values in another shape or order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, need_another_top, need_axes


class Reshape(nn.Module):
    """Give the axes ``start`` to ``stop`` of the bottom other lengths.

    Args:
        dims: the lengths; 0 copies that of the bottom's axis in the same place, -1, at most once, takes what is left.
        start, stop: the axes that they replace, ``stop`` excluded.
    """

    def __init__(self, dims: Sequence[int], start: int, stop: int) -> None:
        super().__init__()
        self.dims, self.start, self.stop = tuple(dims), start, stop

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        shape = bottom.shape
        dims = [shape[self.start + place] if dim == 0 else dim for place, dim in enumerate(self.dims)]
        return bottom.reshape(*shape[: self.start], *dims, *shape[self.stop :])

    def extra_repr(self) -> str:
        return f"{list(self.dims)} for axes {self.start} to {self.stop}"


@register("Reshape", bottoms=1, tops=1)
def reshape(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``reshape_layer.cpp``: ``shape`` replaces ``num_axes`` axes (-1: all) from ``axis``; 0 copies, -1 infers."""
    need_another_top(layer)
    bottom, dims = shapes[0], params.shape.dim
    start = params.axis if params.axis >= 0 else len(bottom) + params.axis + 1
    stop = len(bottom) if params.num_axes == -1 else start + params.num_axes
    if not 0 <= start <= len(bottom):
        raise LayerError(f"axis {params.axis} is out of range for a {len(bottom)}-D blob")
    if params.num_axes < -1 or stop > len(bottom):
        raise LayerError(f"{params.num_axes} axes from axis {start} are not in a {len(bottom)}-D bottom")
    if list(dims).count(-1) > 1:
        raise LayerError(f"the shape {list(dims)} has more than one -1")
    if any(dim < -1 for dim in dims):
        raise LayerError(f"the shape {list(dims)} has negative lengths")
    if any(dim == 0 and start + place >= len(bottom) for place, dim in enumerate(dims)):
        raise LayerError(f"the shape {list(dims)} has a 0 where the bottom {list(bottom)} has no axis to copy")
    fixed = [bottom[start + place] if dim == 0 else dim for place, dim in enumerate(dims)]
    count, known = math.prod(bottom), math.prod(bottom[:start] + bottom[stop:]) * math.prod(d for d in fixed if d > 0)
    if (-1 in fixed and (not known or count % known)) or (-1 not in fixed and count != known * (0 not in fixed)):
        raise LayerError(f"{list(bottom)} cannot become {[*bottom[:start], *fixed, *bottom[stop:]]}: another count")
    return Reshape(dims, start, stop)


@register("Flatten", bottoms=1, tops=1)
def flatten(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """Join the axes ``axis`` to ``end_axis`` (``flatten_layer.cpp``)."""
    need_another_top(layer)
    dims = len(shapes[0])
    start, end = canonical_axis(params.axis, dims), canonical_axis(params.end_axis, dims)
    if start > end + 1:
        raise LayerError(f"axis {start} is behind end_axis {end}")
    return nn.Flatten(start, end) if start <= end else Reshape((1,), start, start)


class Permute(nn.Module):
    """Put the axes into another order."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom.permute(self.order).contiguous()

    def extra_repr(self) -> str:
        return str(self.order)


@register("Permute", bottoms=1, tops=1)
def permute(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``permute_layer.cpp`` of SSD's fork: the axes in ``order``, then those that it leaves out."""
    dims = len(shapes[0])
    if max(params.order, default=0) >= dims or len(set(params.order)) < len(params.order):
        raise LayerError(f"order {list(params.order)} does not name axes of a {dims}-D blob, each once")
    return Permute([*params.order, *(axis for axis in range(dims) if axis not in params.order)])


class ShuffleChannel(nn.Module):
    """Channels of G groups, taken in turn from each group: as rows of a matrix they become its columns."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) to the same shape."""
        images, channels, *rest = bottom.shape
        grouped = bottom.reshape(images, self.groups, channels // self.groups, *rest)
        return grouped.transpose(1, 2).reshape(bottom.shape)


@register("ShuffleChannel", bottoms=1, tops=1)
def shuffle_channel(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``shuffle_channel_layer.cpp`` of ShuffleNet's fork: channel g * (C / group) + i goes to i * group + g."""
    need_axes(shapes[0], 2)
    if params.group < 1 or shapes[0][1] % params.group:
        raise LayerError(f"{shapes[0][1]} channels cannot be split into {params.group} groups")
    return ShuffleChannel(params.group)


class Tile(nn.Module):
    """Repeat the bottom along an axis."""

    def __init__(self, axis: int, tiles: int) -> None:
        super().__init__()
        self.axis, self.tiles = axis, tiles

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return bottom.repeat([self.tiles if axis == self.axis else 1 for axis in range(bottom.dim())])


@register("Tile", bottoms=1, tops=1)
def tile(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """The bottom ``tiles`` times, one behind another along ``axis`` (``tile_layer.cpp``)."""
    axis = canonical_axis(params.axis, len(shapes[0]))
    if params.tiles < 1:
        raise LayerError("tiles must be given and be at least 1")
    return Tile(axis, params.tiles)
