"""Bilinear resizing: PSPNet's Interp and the Resize of other forks."""

from __future__ import annotations

import math

import numpy as np

from prototxt import Layer, Params

from .registry import Array, NoReferenceError, formula


@formula("Interp")
def interp(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Bilinear with the corners of both images on each other, after a crop (``interp_layer.cpp``, ``util/interp.cpp``).

    Positions are float32 in Caffe, whatever the type of the values; weights are taken from them.
    """
    params = layer.params
    before, after = -params.pad_beg, params.pad_end
    x = bottoms[0][:, :, before : bottoms[0].shape[2] + after, before : bottoms[0].shape[3] + after]
    height, width = (_interp_size(params, n, name) for n, name in zip(x.shape[2:], ("height", "width"), strict=True))
    return [_along(_along(x, 2, height), 3, width)]


def _interp_size(params: Params, size: int, name: str) -> int:
    """What the text sets decides: a lone shrink or zoom wins over a size, and that over both together."""
    shrinks, zooms = params.is_set("shrink_factor"), params.is_set("zoom_factor")
    if shrinks and not zooms:
        return int((size - 1) // params.shrink_factor + 1)
    if zooms and not shrinks:
        return int(size + (size - 1) * (params.zoom_factor - 1))
    if params.is_set("height") and params.is_set("width"):
        return int(params[name])
    if not shrinks:
        raise NoReferenceError("Interp without a size")
    shrunk = (size - 1) // params.shrink_factor + 1
    return int(shrunk + (shrunk - 1) * (params.zoom_factor - 1))


def _along(x: Array, axis: int, size: int) -> Array:
    """``x`` resized to ``size`` along one axis, corners aligned."""
    if x.shape[axis] == size:
        return x
    ratio = np.float32(x.shape[axis] - 1) / np.float32(size - 1) if size > 1 else np.float32(0)
    positions = ratio * np.arange(size, dtype=np.float32)
    low = positions.astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    weight = (positions - low.astype(np.float32)).astype(np.float64)
    weight = weight.reshape(-1, *[1] * (x.ndim - axis - 1))
    resized: Array = (1 - weight) * x.take(low, axis) + weight * x.take(high, axis)
    return resized


@formula("Resize")
def resize(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Bilinear at positions i n_in / n_out; what would lie beyond the last row or column counts as 0.

    ``resize_layer.cpp`` and ``util_img.cpp`` of the forks that have it (happynear/caffe-windows and others).
    """
    (x,) = bottoms
    params = layer.params
    if params.is_pyramid_test:
        height = math.floor(params.out_height_scale * x.shape[2])
        width = math.floor(params.out_width_scale * x.shape[3])
    elif params.is_set("height") and params.is_set("width"):
        height, width = params.height, params.width
    else:
        raise NoReferenceError("Resize without height and width")
    top = np.zeros((*x.shape[:2], height, width))
    for row in range(height):
        for column in range(width):
            y, dy = divmod(row * x.shape[2] / height, 1)
            z, dz = divmod(column * x.shape[3] / width, 1)
            corner = x[:, :, int(y) : int(y) + 2, int(z) : int(z) + 2]
            weights = np.outer([1 - dy, dy], [1 - dz, dz])[: corner.shape[2], : corner.shape[3]]
            top[:, :, row, column] = (corner * weights).sum(axis=(2, 3))
    return [top]
