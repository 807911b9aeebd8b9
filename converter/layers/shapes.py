"""Helpers on blob shapes that several families need."""

from __future__ import annotations

from collections.abc import Sequence

from prototxt import Layer

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
