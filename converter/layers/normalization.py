"""Normalisation with stored statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register


@register("BN", "BNData", bottoms=1, tops=1)
def bn(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """(x - mean) * (variance + eps)^-0.5 * slope + bias (``bn_layer.cpp`` of the PSPNet fork).

    Blobs: slope, bias, running mean, running variance, each 1xCx1x1. Caffe's momentum weighs the old value, torch's the
    new one.
    """
    if len(shapes[0]) != 4:
        raise LayerError(f"needs a 4-D bottom, has {list(shapes[0])}")
    channels = shapes[0][1]
    shape = (1, channels, 1, 1)
    module = nn.BatchNorm2d(channels, eps=params.eps, momentum=1.0 - params.momentum, device="meta")
    module.weight = nn.Parameter(blobs.take(shape, params.slope_filler).detach().reshape(-1))
    module.bias = nn.Parameter(blobs.take(shape, params.bias_filler).detach().reshape(-1))
    module.running_mean = blobs.take(shape).detach().reshape(-1)
    module.running_var = blobs.take(shape).detach().reshape(-1)
    module.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return module
