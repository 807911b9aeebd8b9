"""Sums, products and scales of whole blobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import nn

from prototxt import Layer, Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, in_place, need_equal


class Eltwise(nn.Module):
    """SUM (with one coefficient per bottom), PROD or MAX of equally shaped blobs, in the order of the bottoms.

    Args:
        operation: ``"SUM"``, ``"PROD"`` or ``"MAX"``.
        coefficients: of SUM; none: 1.
        first: index of the first bottom that counts; those before it have no coefficient.
    """

    def __init__(self, operation: str = "SUM", coefficients: Sequence[float] = (), *, first: int = 0) -> None:
        super().__init__()
        self.operation, self.coefficients, self.first = operation, tuple(coefficients), first

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        bottoms = bottoms[self.first :]
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
def eltwise(params: Params, shapes: Sequence[Shape], blobs: Blobs, layer: Layer) -> nn.Module:
    """``eltwise_layer.cpp``: SUM by default; coefficients (default 1) for SUM only.

    In place, SUM and MAX lose the first bottom, as in Caffe, which clears the top before it reads the bottoms.
    """
    need_equal(shapes)
    if params.coeff and len(params.coeff) != len(shapes):
        raise LayerError(f"{len(params.coeff)} coefficients for {len(shapes)} bottoms")
    if params.coeff and params.operation == "PROD":
        raise LayerError("a product takes no coefficients")
    plain = params.operation != "SUM" or all(c == 1 for c in params.coeff)
    first = int(in_place(layer) and params.operation != "PROD")
    return Eltwise(params.operation, () if plain else params.coeff[first:], first=first)


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


class Bias(nn.Module):
    """Add a blob that spans some axes of the bottom, learned or (None) the second bottom; ``trailing`` axes follow."""

    def __init__(self, bias: nn.Parameter | None, trailing: int) -> None:
        super().__init__()
        self.bias = bias
        self.trailing = trailing

    def forward(self, bottom: torch.Tensor, *terms: torch.Tensor) -> torch.Tensor:
        return bottom + align(terms[0] if self.bias is None else self.bias, self.trailing)


def align(factors: torch.Tensor, trailing: int) -> torch.Tensor:
    """``factors`` with ``trailing`` axes of length 1 behind, so that it broadcasts against the bottom."""
    return factors.reshape(factors.shape + (1,) * trailing)


@register("Scale", bottoms=(1, 2), tops=1)
def scale(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``scale_layer.cpp``: times one learned blob over ``num_axes`` axes from ``axis``, or the second bottom; filler 1.

    Blobs: factors (not with a second bottom), bias of the same shape with ``bias_term``.
    """
    factors, trailing = _spanned(params, shapes)
    weight = blobs.take(factors, with_default(params, "filler", 1.0)) if len(shapes) == 1 else None
    bias = blobs.take(factors, params.bias_filler) if params.bias_term else None
    return ScaleBy(bias, trailing) if weight is None else Scale(weight, bias, trailing=trailing)


@register("Bias", bottoms=(1, 2), tops=1)
def bias(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``bias_layer.cpp``: plus one learned blob over ``num_axes`` axes from ``axis``, or plus the second bottom."""
    terms, trailing = _spanned(params, shapes)
    return Bias(blobs.take(terms, params.filler) if len(shapes) == 1 else None, trailing)


def _spanned(params: Params, shapes: Sequence[Shape]) -> tuple[Shape, int]:
    """The shape of the factors or terms, learned or given as second bottom, and how many axes of the bottom follow."""
    bottom = shapes[0]
    if len(shapes) == 1:
        axis = canonical_axis(params.axis, len(bottom))
        if params.num_axes < -1:
            raise LayerError(f"num_axes {params.num_axes} must be at least -1")
        end = len(bottom) if params.num_axes == -1 else axis + params.num_axes
        if end > len(bottom):
            raise LayerError(f"{params.num_axes} axes from axis {axis} are more than a {len(bottom)}-D bottom has")
        return bottom[axis:end], len(bottom) - end
    given = shapes[1]
    axis = canonical_axis(params.axis, len(bottom)) if given else 0
    end = axis + len(given)
    if bottom[axis:end] != given:
        raise LayerError(f"the second bottom {list(given)} does not fit the first, {list(bottom)}, from axis {axis}")
    return given, len(bottom) - end


def with_default(params: Params, name: str, value: float) -> Params:
    """The filler ``name`` of ``params``, or the constant ``value`` where the text does not give it."""
    filler: Params = params[name]
    return filler if params.is_set(name) else filler.replace(type="constant", value=value)


class Axpy(nn.Module):
    """a * x + y, with one a per image and channel."""

    def forward(self, a: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(N, C) or (N, C, 1, 1), and twice (N, C, ...), to the latter's shape."""
        return a.reshape(*a.shape[:2], *[1] * (x.dim() - 2)) * x + y


@register("Axpy", bottoms=3, tops=1)
def axpy(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``axpy_layer.cpp`` of SENet's fork: the first bottom times the second, plus the third."""
    a, x, y = shapes
    if x != y or len(x) < 2 or a[:2] != x[:2] or any(n != 1 for n in a[2:]):
        raise LayerError(f"needs bottoms (N, C) or (N, C, 1, 1) and twice (N, C, ...), has {[list(s) for s in shapes]}")
    return Axpy()
