"""Shapes of blobs and windows over them, which several families need.

Sources: ``blob.hpp``; ``base_conv_layer.cpp``, ``im2col_layer.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prototxt import Layer, Params

from ..errors import LayerError

Shape = tuple[int, ...]


def canonical_axis(axis: int, dims: int) -> int:
    """``axis`` counted from the front (``Blob::CanonicalAxisIndex``).

    Raises:
        LayerError: out of range.
    """
    if not -dims <= axis < dims:
        raise LayerError(f"axis {axis} is out of range for a {dims}-D blob")
    return axis % dims if dims else 0


def legacy_shape(shape: Shape) -> tuple[int, int, int, int]:
    """Num, channels, height and width of a blob of at most four axes; 1 for those it lacks (``Blob::LegacyShape``).

    Raises:
        LayerError: more than four axes.
    """
    need_axes(shape, most=4)
    num, channels, height, width = shape + (1,) * (4 - len(shape))
    return num, channels, height, width


def need_axes(shape: Shape, least: int = 0, most: int | None = None) -> None:
    """Check the number of axes of a bottom.

    Raises:
        LayerError: there are fewer than ``least`` or more than ``most``.
    """
    if least == most and len(shape) != least:
        raise LayerError(f"needs a {least}-D bottom, has {list(shape)}")
    if len(shape) < least:
        raise LayerError(f"needs a bottom of at least {least} axes, has {list(shape)}")
    if most is not None and len(shape) > most:
        raise LayerError(f"needs a bottom of at most {most} axes, has {list(shape)}")


def need_equal(shapes: Sequence[Shape]) -> None:
    """Check that all bottoms have one shape.

    Raises:
        LayerError: two shapes differ.
    """
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise LayerError(f"all bottoms must have one shape: {list(shapes[0])} and {list(shape)}")


def pair(params: Params, name: str) -> tuple[int, int]:
    """Height and width of a field: ``name`` for both, or ``name_h`` and ``name_w``.

    Raises:
        LayerError: both forms are given, or only one side.
    """
    sides = params.is_set(f"{name}_h"), params.is_set(f"{name}_w")
    if not any(sides):
        return params[name], params[name]
    if params.is_set(name) or not all(sides):
        raise LayerError(f"needs either {name}, or {name}_h and {name}_w")
    return params[f"{name}_h"], params[f"{name}_w"]


def in_place(layer: Layer) -> bool:
    """Whether the first top is the first bottom, so that Caffe writes one over the other."""
    return bool(layer.bottoms) and layer.bottoms[:1] == layer.tops[:1]


def need_another_top(layer: Layer) -> None:
    """Check that the first top is not the first bottom, for types that Caffe does not run in place.

    Raises:
        LayerError: the layer is in place.
    """
    if in_place(layer):
        raise LayerError("does not work in place: give its top another name than its bottom")


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
