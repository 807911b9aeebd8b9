"""Windows over feature maps: convolution, deconvolution, Im2col, and the correlation of two maps.

Sources: ``base_conv_layer.cpp``, ``conv_layer.cpp``, ``deconv_layer.cpp``; ``correlation_layer.cu`` of FlowNet's fork.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prototxt import Params

from ..blobs import Blobs
from ..errors import LayerError
from ..registry import register
from .shapes import Shape, Window, canonical_axis, need_axes, need_equal, window

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
    need_axes(shapes[0], 4, 4)
    channels = shapes[0][1]
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


class Im2col(nn.Module):
    """(*, C, *lengths) to (*, C * kernel's size, *positions); a channel's kernel positions follow one another."""

    def __init__(self, axis: int, moving: Window) -> None:
        super().__init__()
        self.axis, self.window = axis, moving

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        moving, first = self.window, self.axis + 1
        dims = bottom.dim() - first
        x = F.pad(bottom, [pad for pad in reversed(moving.pad) for _ in range(2)])
        for index in range(dims):
            x = x.unfold(first + index, moving.extent[index], moving.stride[index])[..., :: moving.dilation[index]]
        order = [*range(first), *range(first + dims, first + 2 * dims), *range(first, first + dims)]
        return x.permute(order).flatten(self.axis, self.axis + dims)


@register("Im2col", bottoms=1, tops=1, limits="no dilation of 0, no kernel beyond the padded bottom")
def im2col(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """``im2col_layer.cpp``: each output position holds the values under the kernel there, zero in the padding."""
    shape = shapes[0]
    axis = canonical_axis(params.axis, len(shape))
    moving = window(params, len(shape) - axis - 1)
    if not moving.kernel:
        raise LayerError(f"a bottom {list(shape)} has no spatial axis after axis {axis}")
    if min(moving.dilation) < 1 or min(moving.spans(shape[axis + 1 :])) < 0:
        raise LayerError(f"a window of {list(moving.extent)} is not supported on a bottom {list(shape)}")
    return Im2col(axis, moving)


class Correlation(nn.Module):
    """Mean over channels and a window of a(p) b(p + d), or of |a(p) - b(p + d)|, for each displacement d.

    Args:
        kernel: side of the window, odd.
        reach: largest displacement; the window never leaves the padded maps.
        pad: zeros around both maps.
        stride: from one position p to the next.
        step: from one displacement to the next.
        subtract: the mean of absolute differences.
    """

    def __init__(self, kernel: int, reach: int, pad: int, stride: int, step: int, *, subtract: bool = False) -> None:
        super().__init__()
        self.kernel, self.reach, self.pad, self.stride, self.step = kernel, reach, pad, stride, step
        self.subtract = subtract

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Twice (N, C, H, W) to (N, displacements, H', W'); displacements row by row, from -reach."""
        if a.is_meta:
            return a.new_empty(self.output_shape(a.shape))
        a, b = (F.pad(x, [self.pad] * 4) for x in (a, b))
        height, width = (n - 2 * self.reach for n in a.shape[2:])
        radius = self.reach // self.step
        shifts = [index * self.step for index in range(-radius, radius + 1)]
        inner = a[..., self.reach : self.reach + height, self.reach : self.reach + width]
        maps = []
        for down in shifts:
            for across in shifts:
                y, x = self.reach + down, self.reach + across
                other = b[..., y : y + height, x : x + width]
                product = (inner - other).abs() if self.subtract else inner * other
                maps.append(F.avg_pool2d(product.mean(1, keepdim=True), self.kernel, self.stride))
        return torch.cat(maps, 1)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, displacements, H', W') for bottoms of ``shape``."""
        border = 2 * self.reach + self.kernel - 1
        height, width = (-(-(n + 2 * self.pad - border) // self.stride) for n in shape[2:])
        return shape[0], (2 * (self.reach // self.step) + 1) ** 2, height, width

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, reach={self.reach}, pad={self.pad}, stride={self.stride}, step={self.step}"


@register("Correlation", bottoms=2, tops=1, limits="no single_direction, no do_abs")
def correlation(params: Params, shapes: Sequence[Shape], blobs: Blobs) -> nn.Module:
    """MULTIPLY or SUBTRACT, over displacements up to ``max_displacement`` in steps of ``stride_2``, both ways."""
    need_axes(shapes[0], 4, 4)
    need_equal(shapes)
    if not params.is_set("max_displacement") or params.kernel_size % 2 == 0:
        raise LayerError("needs max_displacement and an odd kernel_size")
    if params.single_direction or params.do_abs:
        raise LayerError("single_direction and do_abs are not supported")
    if params.stride_1 < 1 or params.stride_2 < 1:
        raise LayerError("stride_1 and stride_2 must be at least 1")
    border = 2 * params.max_displacement + params.kernel_size - 1
    if min(shapes[0][2:]) + 2 * params.pad <= border:
        raise LayerError(f"displacements and window need more than {border} padded pixels; {list(shapes[0])} has fewer")
    return Correlation(
        params.kernel_size,
        params.max_displacement,
        params.pad,
        params.stride_1,
        params.stride_2,
        subtract=params.correlation_type == "SUBTRACT",
    )
