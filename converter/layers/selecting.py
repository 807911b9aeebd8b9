"""Joining, splitting, choosing and summing parts of blobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, need_axes


class Concat(nn.Module):
    """One blob behind another along an axis."""

    def __init__(self, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        return torch.cat(bottoms, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


@register("Concat", bottoms=(1, None), tops=1)
def concat(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``concat_layer.cpp``: along ``axis``, whose old name is ``concat_dim``."""
    axis = _axis(params, "concat_dim", len(shapes[0]))
    for shape in shapes[1:]:
        if len(shape) != len(shapes[0]) or any(
            n != m for place, (n, m) in enumerate(zip(shape, shapes[0], strict=True)) if place != axis
        ):
            raise LayerError(f"{list(shapes[0])} and {list(shape)} differ elsewhere than along axis {axis}")
    return Concat(axis)


class Slice(nn.Module):
    """Cut a blob along an axis into pieces of the lengths ``sizes``; None: ``pieces`` equal ones."""

    def __init__(self, axis: int, pieces: int, sizes: Sequence[int] | None = None) -> None:
        super().__init__()
        self.axis, self.pieces, self.sizes = axis, pieces, sizes

    def forward(self, bottom: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes = self.sizes or [bottom.shape[self.axis] // self.pieces] * self.pieces
        return tuple(torch.split(bottom, list(sizes), self.axis))

    def extra_repr(self) -> str:
        return f"axis={self.axis}, {self.sizes or self.pieces}"


@register("Slice", bottoms=1, tops=(1, None))
def slice_(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``slice_layer.cpp``: along ``axis`` (old name ``slice_dim``), at each ``slice_point``, or into equal pieces."""
    axis = _axis(params, "slice_dim", len(shapes[0]))
    length, pieces, points = shapes[0][axis], len(layer.tops), params.slice_point
    if not points:
        if length % pieces:
            raise LayerError(f"an axis of {length} cannot be cut into {pieces} equal pieces")
        return Slice(axis, pieces)
    ends = (0, *points, length)
    sizes = [end - start for start, end in pairwise(ends)]
    if len(sizes) != pieces or pieces > length or min(sizes[:-1]) < 1 or sizes[-1] < 0:
        raise LayerError(f"slice_point {list(points)} does not cut an axis of {length} into {pieces} pieces")
    return Slice(axis, pieces, sizes)


def _axis(params: Params, old_name: str, dims: int) -> int:
    if not params.is_set(old_name):
        return canonical_axis(params.axis, dims)
    if params.is_set("axis"):
        raise LayerError(f"either axis or {old_name} can be given, not both")
    return canonical_axis(params[old_name], dims)


class Split(nn.Module):
    """The same blob several times."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, bottom: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (bottom,) * self.copies


@register("Split", bottoms=1, tops=(1, None))
def split(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``split_layer.cpp``: copies for several readers. Caffe inserts these by itself; a net rarely names one."""
    return Split(len(layer.tops))


class Silence(nn.Module):
    """Reads blobs and gives nothing."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ()


@register("Silence", bottoms=(1, None), tops=0)
def silence(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``silence_layer.cpp``: takes blobs that nobody else reads, so that they are no outputs of the net."""
    return Silence()


class Crop(nn.Module):
    """Cut the axes from ``axis`` on to the lengths of a second blob.

    Args:
        axis: the first axis that is cut.
        offsets: where to begin, one for each of those axes.
    """

    def __init__(self, axis: int, offsets: Sequence[int]) -> None:
        super().__init__()
        self.axis, self.offsets = axis, tuple(offsets)

    def forward(self, bottom: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        for place, offset in enumerate(self.offsets, self.axis):
            bottom = bottom.narrow(place, offset, like.shape[place])
        return bottom

    def extra_repr(self) -> str:
        return f"axis={self.axis}, offsets={self.offsets}"


@register("Crop", bottoms=2, tops=1)
def crop(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``crop_layer.cpp``: the axes from ``axis`` on get the second bottom's lengths; one ``offset``, or one each."""
    bottom, like = shapes
    axis = canonical_axis(params.axis, len(bottom))
    dims = len(bottom) - axis
    if len(params.offset) not in (0, 1, dims):
        raise LayerError(
            f"offset is given {len(params.offset)} times; once, or once for each of {dims} axes, is possible"
        )
    offsets = params.offset if len(params.offset) == dims else (params.offset or (0,)) * dims
    if len(like) < len(bottom):
        raise LayerError(f"the second bottom {list(like)} has fewer axes than the first, {list(bottom)}")
    for n, m, offset in zip(bottom[axis:], like[axis:], offsets, strict=False):
        if offset + m > n:
            raise LayerError(f"{list(like)} at offset {list(offsets)} reaches beyond the bottom {list(bottom)}")
    return Crop(axis, offsets)


class BatchReindex(nn.Module):
    """Items of the first blob by their indices in the second."""

    def forward(self, bottom: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return bottom.index_select(0, indices.long())


@register("BatchReindex", bottoms=2, tops=1)
def batch_reindex(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``batch_reindex_layer.cpp``: choose, repeat and order the items of a batch; the indices are 1-D."""
    need_axes(shapes[0], 1)
    if len(shapes[1]) != 1:
        raise LayerError(f"the indices must be 1-D, not {list(shapes[1])}")
    return BatchReindex()


class Filter(nn.Module):
    """The items for which the selector, the last blob, is not 0. From shapes alone: all of them."""

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *blobs, selector = bottoms
        if selector.is_meta:
            return tuple(blobs)
        chosen = selector.flatten() != 0
        return tuple(blob[chosen] for blob in blobs)


@register("Filter", bottoms=(2, None), tops=(1, None), limits="before a run its tops count as having all items")
def filter_(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``filter_layer.cpp``: a top for each bottom but the last, which selects items of the batch; tops may be empty."""
    *chosen, selector = shapes
    if len(layer.tops) != len(chosen):
        raise LayerError(f"{len(chosen)} bottoms before the selector need as many tops, not {len(layer.tops)}")
    if not selector or any(n != 1 for n in selector[1:]):
        raise LayerError(f"the selector must hold one value per item, not {list(selector)}")
    for shape in chosen:
        if shape[:1] != selector[:1]:
            raise LayerError(f"the selector {list(selector)} and the bottom {list(shape)} differ in their items")
    return Filter()


class Reduction(nn.Module):
    """coeff times the sum, or mean, over all axes from ``axis`` on.

    Args:
        operation: SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN.
        axis: the first one that goes.
        coefficient: of the result.
    """

    def __init__(self, operation: str, axis: int, coefficient: float) -> None:
        super().__init__()
        self.operation, self.axis, self.coefficient = operation, axis, coefficient

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        x = bottom.reshape(*bottom.shape[: self.axis], -1)
        if self.operation == "ASUM":
            x = x.abs()
        elif self.operation == "SUMSQ":
            x = x.square()
        return (x.mean(-1) if self.operation == "MEAN" else x.sum(-1)) * self.coefficient

    def extra_repr(self) -> str:
        return f"{self.operation}, axis={self.axis}, coefficient={self.coefficient:g}"


@register("Reduction", bottoms=1, tops=1)
def reduction(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``reduction_layer.cpp``: the axes from ``axis`` on become one number, times ``coeff``."""
    return Reduction(params.operation, canonical_axis(params.axis, len(shapes[0])), params.coeff)


class ArgMax(nn.Module):
    """The indices of the largest values, as numbers; of equal values the last comes first.

    Args:
        count: how many.
        axis: along which; the values or indices take its place. None: over all but the first axis, to (N, 1, count).
        values: give the values: in place of the indices along an axis, else behind them, as (N, 2, count).
    """

    def __init__(self, count: int, axis: int | None, *, values: bool) -> None:
        super().__init__()
        self.count, self.axis, self.values = count, axis, values

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        if self.axis is not None:
            values, places = self._largest(bottom, self.axis)
            return values if self.values else places
        values, places = self._largest(bottom.flatten(1), 1)
        top = torch.stack([places, values], 1) if self.values else places.unsqueeze(1)
        return top.reshape(*top.shape, *[1] * (bottom.dim() - 3))

    def _largest(self, x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and indices; reversed first, so that of equal values the one with the larger index wins."""
        flipped = x.flip(axis)
        if self.count == 1:
            places = flipped.argmax(axis, keepdim=True)
            values = flipped.gather(axis, places)
        else:
            values, places = torch.sort(flipped, dim=axis, descending=True, stable=True)
            values, places = values.narrow(axis, 0, self.count), places.narrow(axis, 0, self.count)
        return values, (x.shape[axis] - 1 - places).to(x.dtype)


@register("ArgMax", bottoms=1, tops=1)
def argmax(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``argmax_layer.cpp``: the ``top_k`` largest values' indices, along ``axis`` or over each item.

    ``out_max_val`` gives the values: with an axis in place of the indices, without it behind them.
    """
    shape = shapes[0]
    need_axes(shape, 1)
    axis = canonical_axis(params.axis, len(shape)) if params.is_set("axis") else None
    available = math.prod(shape[1:]) if axis is None else shape[axis]
    if not 1 <= params.top_k <= available:
        raise LayerError(f"top_k must be from 1 to {available}, not {params.top_k}")
    return ArgMax(params.top_k, axis, values=params.out_max_val)
