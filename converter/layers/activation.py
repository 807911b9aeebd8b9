"""Element-wise non-linear functions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..registry import register


@register("ReLU", bottoms=1, tops=1)
def relu(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """max(x, 0) + negative_slope * min(x, 0)."""
    return nn.LeakyReLU(params.negative_slope) if params.negative_slope else nn.ReLU()


@register("Dropout", bottoms=1, tops=1)
def dropout(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """A copy: the TRAIN phase already scales by 1 / (1 - ratio)."""
    return nn.Identity()
