"""Convolution and deconvolution (``base_conv_layer.cpp``, ``conv_layer.cpp``, ``deconv_layer.cpp``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, canonical_axis, legacy_shape, need_equal
from .windows import Window, window

_CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_DECONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
_FUNCTIONS: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
_LIMITS = "at most three spatial axes"


@register(
    "Convolution",
    "ConvolutionData",
    "HoleConvolutionData",
    "HoleConvolution",
    "DepthwiseConvolution",
    bottoms=(1, None),
    tops=(1, None),
    one_top_each=True,
    limits=_LIMITS,
)
def convolution(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """Cross-correlation with zero padding over the axes after ``axis``, the same for every bottom.

    Blobs: weights (num_output, channels / group, kernel), bias (num_output). The length of an axis becomes
    (n + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1. ``engine`` and ``force_nd_im2col`` change nothing.
    """
    return _build(params, shapes, blobs, transposed=False)


@register("Deconvolution", bottoms=(1, None), tops=(1, None), one_top_each=True, limits=_LIMITS)
def deconvolution(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """The transpose of a convolution: every value of the bottom spreads the kernel into the top.

    Blobs: weights (channels, num_output / group, kernel), bias (num_output). The length of an axis becomes
    stride (n - 1) + dilation (kernel - 1) + 1 - 2 pad.
    """
    return _build(params, shapes, blobs, transposed=True)


@register("ConvolutionDepthwise", "ConvolutionDepthWise", bottoms=1, tops=1)
def convolution_depthwise(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """One 2-D filter per channel (``conv_dw_layer.cpp`` of several forks); ``num_output`` and ``group`` mean nothing.

    Blobs: weights (channels, 1, height, width), bias (channels).
    """
    channels = legacy_shape(shapes[0])[1]
    if len(shapes[0]) != 4:
        raise LayerError(f"needs a 4-D bottom, has {list(shapes[0])}")
    return convolution(params.replace(num_output=channels, group=channels, axis=1), shapes, blobs)


def _build(params: Params, shapes: Sequence[Shape], blobs: Blobs, *, transposed: bool) -> nn.Module:
    shape = shapes[0]
    need_equal(shapes)
    axis = canonical_axis(params.axis, len(shape))
    dims = len(shape) - axis - 1
    if dims > 3:
        raise LayerError(f"a convolution over {dims} spatial axes is not supported")
    channels, lengths = shape[axis], shape[axis + 1 :]
    moving = window(params, dims)
    group, outputs = params.group, params.num_output
    if outputs < 1 or group < 1 or channels % group or outputs % group:
        raise LayerError(f"{channels} input and {outputs} output channels cannot be split into {group} groups")
    sizes = moving.inputs(lengths) if transposed else moving.outputs(lengths)
    if min(sizes, default=1) < 1:
        raise LayerError(f"a window of {list(moving.extent)} leaves nothing of a bottom {list(shape)}")
    first, second = (channels, outputs) if transposed else (outputs, channels)
    weight = blobs.take((first, second // group, *moving.kernel), params.weight_filler)
    bias = blobs.take((outputs,), params.bias_filler) if params.bias_term else None
    usual = axis == 1 and dims and min(moving.dilation) > 0 and (transposed or min(moving.spans(lengths)) >= 0)
    if usual:
        module = (_DECONVOLUTIONS if transposed else _CONVOLUTIONS)[dims](
            channels,
            outputs,
            kernel_size=moving.kernel,
            stride=moving.stride,
            padding=moving.pad,
            dilation=moving.dilation,
            groups=group,
            bias=bias is not None,
            device="meta",
        )
        module.register_parameter("weight", weight)
        module.register_parameter("bias", bias)
    else:
        module = UnusualConvolution(weight, bias, axis, moving, group, transposed=transposed)
    return module if len(shapes) == 1 else Shared(module)


class UnusualConvolution(nn.Module):
    """A convolution, or its transpose, that torch's modules do not know but Caffe does.

    Its channels may be another axis than the second (the axes before are one batch), it may have no spatial axis, a
    dilation of 0 (all of the kernel falls on one pixel), or a kernel that is longer than the padded bottom but, rounded
    towards zero, still has one position.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        axis: int,
        moving: Window,
        group: int,
        *,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.axis, self.window, self.group, self.transposed = axis, moving, group, transposed

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(*, C, *lengths) to (*, O, *lengths'), with the channels at ``axis``."""
        moving = self.window
        batch, lengths = bottom.shape[: self.axis], bottom.shape[self.axis + 1 :]
        x = bottom.reshape(-1, *bottom.shape[self.axis :])
        if not lengths:
            x, weight = x.unsqueeze(-1), self.weight.unsqueeze(-1)
            y = (F.conv_transpose1d if self.transposed else F.conv1d)(x, weight, self.bias, groups=self.group)
            return y.reshape(*batch, y.shape[1])
        collapsed = [2 + index for index, dilation in enumerate(moving.dilation) if dilation == 0]
        weight = self.weight.sum(collapsed, keepdim=True) if collapsed else self.weight
        dilation = [max(d, 1) for d in moving.dilation]
        dims = len(lengths)
        if self.transposed:
            y = _TRANSPOSED[dims](x, weight, self.bias, moving.stride, moving.pad, groups=self.group, dilation=dilation)
        else:
            lacking = [max(-span, 0) for span in moving.spans(lengths)]
            x = F.pad(x, [end for size in reversed(lacking) for end in (0, size)]) if any(lacking) else x
            y = _FUNCTIONS[dims](x, weight, self.bias, moving.stride, moving.pad, dilation, self.group)
        return y.reshape(*batch, *y.shape[1:])

    def extra_repr(self) -> str:
        return f"{list(self.weight.shape)}, axis={self.axis}, group={self.group}, {self.window}"


class Shared(nn.Module):
    """One module applied to several bottoms, giving as many tops."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *bottoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(bottom) for bottom in bottoms)
