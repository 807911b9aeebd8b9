"""Sums, products and scales of whole blobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import canonical_axis


class Eltwise(nn.Module):
    """SUM (with one coefficient per bottom), PROD or MAX of equally shaped blobs, in the order of the bottoms."""

    def __init__(self, operation: str = "SUM", coefficients: Sequence[float] = ()) -> None:
        super().__init__()
        self.operation, self.coefficients = operation, tuple(coefficients)

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        if self.operation == "PROD":
            return reduce(torch.mul, bottoms)
        if self.operation == "MAX":
            return reduce(torch.maximum, bottoms)
        if self.coefficients:
            return reduce(torch.add, (c * x for c, x in zip(self.coefficients, bottoms, strict=True)))
        return reduce(torch.add, bottoms)

    def extra_repr(self) -> str:
        return self.operation + (f", coefficients={self.coefficients}" if self.coefficients else "")


@register("Eltwise", bottoms=(2, None), tops=1)
def eltwise(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """``eltwise_layer.cpp``: SUM by default; coefficients (default 1) for SUM only."""
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise LayerError(f"all bottoms must have one shape: {list(shapes[0])} and {list(shape)}")
    if params.coeff and len(params.coeff) != len(shapes):
        raise LayerError(f"{len(params.coeff)} coefficients for {len(shapes)} bottoms")
    if params.coeff and params.operation == "PROD":
        raise LayerError("a product takes no coefficients")
    plain = params.operation != "SUM" or all(c == 1 for c in params.coeff)
    return Eltwise(params.operation, () if plain else params.coeff)


class Scale(nn.Module):
    """Multiply by a learned blob that spans some axes of the bottom, and add another one.

    Args:
        weight: the factors, of the bottom's shape along the axes they span.
        bias: of the same shape, or None.
        trailing: how many axes of the bottom follow those.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None = None, *, trailing: int = 2) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.trailing = trailing

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        scaled = bottom * align(self.weight, self.trailing)
        return scaled if self.bias is None else scaled + align(self.bias, self.trailing)


class ScaleBy(nn.Module):
    """Multiply the first bottom by the second, which spans some of its axes, and add a learned bias."""

    def __init__(self, bias: nn.Parameter | None, trailing: int) -> None:
        super().__init__()
        self.bias = bias
        self.trailing = trailing

    def forward(self, bottom: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        scaled = bottom * align(factors, self.trailing)
        return scaled if self.bias is None else scaled + align(self.bias, self.trailing)


def align(factors: torch.Tensor, trailing: int) -> torch.Tensor:
    """``factors`` with ``trailing`` axes of length 1 behind, so that it broadcasts against the bottom."""
    return factors.reshape(factors.shape + (1,) * trailing)


@register("Scale", bottoms=(1, 2), tops=1)
def scale(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """``scale_layer.cpp``: one learned blob over ``num_axes`` axes from ``axis``, or the second bottom; filler 1."""
    bottom = shapes[0]
    learned = len(shapes) == 1
    axis = canonical_axis(params.axis, len(bottom))
    if learned:
        if params.num_axes < -1:
            raise LayerError(f"num_axes {params.num_axes} must be at least -1")
        end = len(bottom) if params.num_axes == -1 else axis + params.num_axes
        if end > len(bottom):
            raise LayerError(f"{params.num_axes} axes from axis {axis} are more than a {len(bottom)}-D bottom has")
        factors = bottom[axis:end]
    else:
        factors = shapes[1]
        if not factors:
            axis = 0
        end = axis + len(factors)
        if bottom[axis:end] != factors:
            raise LayerError(f"the factors {list(factors)} do not fit the bottom {list(bottom)} from axis {axis}")
    weight = None
    if learned:
        filler = params.filler if params.is_set("filler") else params.filler.replace(type="constant", value=1.0)
        weight = blobs.take(factors, filler)
    bias = blobs.take(factors, params.bias_filler) if params.bias_term else None
    trailing = len(bottom) - end
    return ScaleBy(bias, trailing) if weight is None else Scale(weight, bias, trailing=trailing)
