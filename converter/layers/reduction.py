"""Sums, maxima and probabilities along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, need_axes


@register("Softmax", bottoms=1, tops=1)
def softmax(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """e^x over the sum of e^x along ``axis`` (``softmax_layer.cpp``)."""
    need_axes(shapes[0], 1)
    return nn.Softmax(canonical_axis(params.axis, len(shapes[0])))


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
