"""InnerProduct and Embed: products with a matrix, and its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis


class InnerProduct(nn.Module):
    """The axes from ``axis`` on, as one vector x, become W x + b.

    Args:
        weight: (outputs, inputs), or (inputs, outputs) if ``transposed``.
        bias: (outputs,) or None.
        axis: the first axis of the vector.
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, axis: int = 1, *, transposed: bool = False):
        super().__init__()
        self.weight, self.bias = weight, bias
        self.axis, self.transposed = axis, transposed

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        return F.linear(bottom.flatten(self.axis), self.weight.T if self.transposed else self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, axis={self.axis}" + (", transposed" if self.transposed else "")


@register("InnerProduct", bottoms=1, tops=1, limits="no normalize (face recognition's forks)")
def inner_product(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``inner_product_layer.cpp``: W x + b, where x is all that follows ``axis``.

    Blobs: weights (num_output, inputs), or with ``transpose`` (inputs, num_output); bias (num_output).
    """
    axis = canonical_axis(params.axis, len(shapes[0]))
    inputs, outputs = math.prod(shapes[0][axis:]), params.num_output
    if params.normalize:
        raise LayerError("normalize is not supported")
    weight = blobs.take((inputs, outputs) if params.transpose else (outputs, inputs), params.weight_filler)
    bias = blobs.take((outputs,), params.bias_filler) if params.bias_term else None
    return InnerProduct(weight, bias, axis, transposed=params.transpose)


class Embed(nn.Module):
    """The rows of ``weight`` (inputs, outputs) whose indices the bottom holds, plus ``bias`` (outputs,)."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(bottom.long(), self.weight)
        return rows if self.bias is None else rows + self.bias


@register("Embed", bottoms=1, tops=1)
def embed(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``embed_layer.cpp``: a row of the weights for each index in the bottom, plus a bias.

    Blobs: weights (input_dim, num_output), bias (num_output).
    """
    if params.num_output < 1 or params.input_dim < 1:
        raise LayerError(f"num_output {params.num_output} and input_dim {params.input_dim} must be at least 1")
    weight = blobs.take((params.input_dim, params.num_output), params.weight_filler)
    bias = blobs.take((params.num_output,), params.bias_filler) if params.bias_term else None
    return Embed(weight, bias)
