"""Axes and sizes as Caffe's blobs count them (``blob.hpp``, ``base_conv_layer.cpp``)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prototxt import Params

from .registry import Array


def canonical(axis: int, rank: int) -> int:
    """A negative axis counts from the end."""
    return axis + rank if axis < 0 else axis


def flattened(x: Array, axis: int, end: int | None = None) -> Array:
    """``x`` with its axes from ``axis`` up to and without ``end`` (default: the last) made one."""
    end = x.ndim if end is None else end
    return x.reshape(*x.shape[:axis], math.prod(x.shape[axis:end]), *x.shape[end:])


def outer_axis_inner(x: Array, axis: int) -> Array:
    """``x`` as three axes: everything before ``axis``, ``axis``, everything after it."""
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def along(values: Array, axis: int, rank: int) -> Array:
    """``values`` reshaped so that they multiply a blob of ``rank`` axes from ``axis`` on."""
    return values.reshape(*values.shape, *[1] * (rank - axis - values.ndim))


def per_axis(params: Params, name: str, count: int, default: int) -> list[int]:
    """``pad``, ``stride``, ``dilation`` or ``kernel_size`` for each of ``count`` spatial axes.

    Given once it holds for all; ``kernel_h`` and ``kernel_w`` and their like win where they are set.
    """
    short = name.removesuffix("_size")
    if f"{short}_h" in params and (params.is_set(f"{short}_h") or params.is_set(f"{short}_w")):
        return [params[f"{short}_h"], params[f"{short}_w"]]
    given: Sequence[int] = params[name]
    if not given:
        return [default] * count
    return list(given) * count if len(given) == 1 else list(given)
