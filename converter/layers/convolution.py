"""Convolution, as ``base_conv_layer.cpp`` and ``conv_layer.cpp`` compute it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import canonical_axis

_MODULES: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


@register("Convolution", "ConvolutionData", "HoleConvolutionData", bottoms=(1, None), tops=(1, None))
def convolution(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
    """Cross-correlation with zero padding; blobs: weights (O, I/group, *kernel), bias (O).

    The output size of an axis is floor((n + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.
    """
    shape = shapes[0]
    axis = canonical_axis(params.axis, len(shape))
    dims = len(shape) - axis - 1
    if axis != 1 or dims not in _MODULES:
        raise LayerError(f"a convolution over {dims} axes from axis {axis} of a {len(shape)}-D blob is not supported")
    channels = shape[axis]
    kernel = spatial(params, "kernel", dims, None)
    stride = spatial(params, "stride", dims, 1)
    padding = spatial(params, "pad", dims, 0)
    dilation = repeated(params.dilation, dims, "dilation", 1)
    if min(kernel) < 1:
        raise LayerError(f"the kernel is {list(kernel)}; each side must be at least 1")
    if min(stride) < 1 or min(dilation) < 1:
        raise LayerError(f"stride {list(stride)} and dilation {list(dilation)} must be at least 1")
    group, outputs = params.group, params.num_output
    if outputs < 1 or group < 1 or channels % group or outputs % group:
        raise LayerError(f"{channels} input and {outputs} output channels cannot be split into {group} groups")
    module = _MODULES[dims](
        channels, outputs, kernel, stride, padding, dilation, group, params.bias_term, device="meta"
    )
    module.weight = blobs.take((outputs, channels // group, *kernel), params.weight_filler)
    if params.bias_term:
        module.bias = blobs.take((outputs,), params.bias_filler)
    if len(shapes) == 1:
        return module
    for other in shapes[1:]:
        if other != shape:
            raise LayerError(f"all bottoms must have one shape: {list(shape)} and {list(other)}")
    return Shared(module)


class Shared(nn.Module):
    """One module applied to several bottoms, giving as many tops."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(bottom) for bottom in bottoms)


def spatial(params: Params, name: str, dims: int, default: int | None) -> tuple[int, ...]:
    """``kernel_size``, ``stride`` or ``pad`` per axis: either the repeated field, or its ``_h`` and ``_w`` form.

    Raises:
        LayerError: both forms are given, or a number of values that fits neither one nor each axis.
    """
    values = params["kernel_size" if name == "kernel" else name]
    if params.is_set(f"{name}_h") or params.is_set(f"{name}_w"):
        if dims != 2:
            raise LayerError(f"{name}_h and {name}_w need a 2-D convolution, not {dims}-D")
        if values:
            raise LayerError(f"either {name}_h and {name}_w or one value for both axes can be given, not both")
        return params[f"{name}_h"], params[f"{name}_w"]
    return repeated(values, dims, name, default)


def repeated(values: Sequence[int], dims: int, name: str, default: int | None) -> tuple[int, ...]:
    """One value for all axes, or one for each; ``default`` for none."""
    if not values and default is not None:
        return (default,) * dims
    if len(values) not in (1, dims):
        raise LayerError(f"{name} is given {len(values)} times; once, or once for each of {dims} axes, is possible")
    return tuple(values) if len(values) == dims else tuple(values) * dims
