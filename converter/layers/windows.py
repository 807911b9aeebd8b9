"""Kernel, stride, pad and dilation of layers that slide a window (``base_conv_layer.cpp``, ``im2col_layer.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prototxt import Params

from ..errors import LayerError

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """One value per spatial axis of each. A dilation of 0 puts the whole kernel on one pixel, as Caffe allows."""

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes

    @property
    def extent(self) -> Sizes:
        """How far the dilated kernel reaches."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def spans(self, lengths: Sequence[int]) -> list[int]:
        """How far the window can move along each axis; negative where it is longer than the padded axis."""
        return [n + 2 * p - e for n, p, e in zip(lengths, self.pad, self.extent, strict=True)]

    def outputs(self, lengths: Sequence[int]) -> list[int]:
        """Number of positions of the window: (n + 2 pad - extent) / stride + 1, rounded towards zero as in C++."""
        return [int(span / stride) + 1 for span, stride in zip(self.spans(lengths), self.stride, strict=True)]

    def inputs(self, lengths: Sequence[int]) -> list[int]:
        """The lengths from which :meth:`outputs` come, which are a deconvolution's outputs."""
        return [
            stride * (n - 1) + extent - 2 * pad
            for n, stride, extent, pad in zip(lengths, self.stride, self.extent, self.pad, strict=True)
        ]


def window(params: Params, dims: int) -> Window:
    """The window over ``dims`` spatial axes of a ``ConvolutionParameter``.

    ``hole`` is what DeepLab's first fork called the dilation.

    Raises:
        LayerError: values that are missing, given twice, or of a wrong number or size.
    """
    kernel = _sizes(params, "kernel", dims, None)
    stride = _sizes(params, "stride", dims, 1)
    pad = _sizes(params, "pad", dims, 0)
    if not params.dilation and any(params.is_set(name) for name in ("hole", "hole_h", "hole_w")):
        dilation = _holes(params, dims)
    else:
        dilation = _repeated(params.dilation, dims, "dilation", 1)
    if min(kernel, default=1) < 1:
        raise LayerError(f"the kernel is {list(kernel)}; each side must be at least 1")
    if min(stride, default=1) < 1:
        raise LayerError(f"the stride is {list(stride)}; each must be at least 1")
    return Window(kernel, stride, pad, dilation)


def _sizes(params: Params, name: str, dims: int, default: int | None) -> Sizes:
    """Either the repeated field, or its ``_h`` and ``_w`` form."""
    values = params["kernel_size" if name == "kernel" else name]
    if params.is_set(f"{name}_h") or params.is_set(f"{name}_w"):
        if dims != 2:
            raise LayerError(f"{name}_h and {name}_w are for two spatial axes, not {dims}")
        if values:
            raise LayerError(f"either {name}_h and {name}_w or one value for both axes can be given, not both")
        return params[f"{name}_h"], params[f"{name}_w"]
    return _repeated(values, dims, name, default)


def _holes(params: Params, dims: int) -> Sizes:
    if params.is_set("hole_h") or params.is_set("hole_w"):
        if dims != 2:
            raise LayerError(f"hole_h and hole_w are for two spatial axes, not {dims}")
        return params.hole_h, params.hole_w
    return (params.hole,) * dims


def _repeated(values: Sequence[int], dims: int, name: str, default: int | None) -> Sizes:
    """One value for all axes, or one for each; ``default`` for none."""
    if not values and default is not None:
        return (default,) * dims
    if len(values) not in (1, dims):
        raise LayerError(f"{name} is given {len(values)} times; once, or once for each of {dims} axes, is possible")
    return tuple(values) if len(values) == dims else tuple(values) * dims
