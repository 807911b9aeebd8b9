"""Pooling, SPP, and the Upsample that undoes a max pooling."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from prototxt import Layer, Params

from .registry import Array, NoReferenceError, formula

LOWEST = -float(np.finfo(np.float32).max)
"""-FLT_MAX, with which Caffe starts a maximum."""


@dataclass(frozen=True)
class Span:
    """The windows along one axis."""

    size: int
    kernel: int
    stride: int
    pad: int

    def count(self, floor: bool, padded: bool) -> int:
        """The number of windows; with any padding, the last one must begin before the far padding."""
        steps = (self.size + 2 * self.pad - self.kernel) / self.stride
        count = (math.floor(steps) if floor else math.ceil(steps)) + 1
        if padded and (count - 1) * self.stride >= self.size + self.pad:
            count -= 1
        return count

    def window(self, index: int) -> tuple[slice, int]:
        """What the window sees of the image, and its length clipped to the padded image."""
        start = index * self.stride - self.pad
        length = min(start + self.kernel, self.size + self.pad) - start
        return slice(max(start, 0), max(min(start + self.kernel, self.size), 0)), length


@formula("Pooling")
def pooling(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """``pooling_layer.cpp``; the second top is, for each maximum, its place in the image (row by row)."""
    (x,) = bottoms
    params = layer.params
    if params.global_pooling:
        spans = [Span(size, size, 1, 0) for size in x.shape[2:]]
    else:
        names = ("kernel", "stride", "pad")
        rows, columns = zip(*(_pair(params, name) for name in names), strict=True)
        spans = [Span(size, *numbers) for size, numbers in zip(x.shape[2:], (rows, columns), strict=True)]
    return pool(x, spans, params.pool, floor=params.round_mode == "FLOOR")


def _pair(params: Params, name: str) -> tuple[int, int]:
    if params.is_set(f"{name}_h") or params.is_set(f"{name}_w"):
        return params[f"{name}_h"], params[f"{name}_w"]
    size = params["kernel_size" if name == "kernel" else name]
    return size, size


def pool(x: Array, spans: list[Span], method: str, *, floor: bool = False) -> list[Array]:
    """Pooled values and, for MAX, the mask."""
    padded = any(span.pad for span in spans)
    rows, columns = (span.count(floor, padded) for span in spans)
    top = np.zeros((*x.shape[:2], rows, columns))
    mask = np.zeros_like(top)
    for row, column in itertools.product(range(rows), range(columns)):
        (seen_rows, height), (seen_columns, width) = spans[0].window(row), spans[1].window(column)
        window = x[:, :, seen_rows, seen_columns].reshape(*x.shape[:2], -1)
        at = (..., row, column)
        if method == "MAX":
            top[at], mask[at] = _maximum(window, seen_rows.start, seen_columns, x.shape[3])
        elif method == "AVE":
            with np.errstate(invalid="ignore", divide="ignore"):
                top[at] = window.sum(-1) / np.float64(height * width)
        else:
            top[at] = _expected(window)
    return [top, mask] if method == "MAX" else [top]


def _maximum(window: Array, first_row: int, columns: slice, image_width: int) -> tuple[Array, Array]:
    """The first value that exceeds all others and -FLT_MAX, and where it is in the image; -1: none does."""
    shape = window.shape[:2]
    if window.shape[-1] == 0:
        return np.full(shape, LOWEST), np.full(shape, -1.0)
    comparable = np.where(np.isnan(window), -np.inf, window)
    best = comparable.argmax(-1)
    value = comparable.max(-1)
    row, column = np.divmod(best, columns.stop - columns.start)
    place = (first_row + row) * image_width + columns.start + column
    found = value > LOWEST
    return np.where(found, value, LOWEST), np.where(found, place, -1.0)


def _expected(window: Array) -> Array:
    """Stochastic pooling in TEST: each value weighs as much as its share of the sum (``pooling_layer.cu``)."""
    total = window.sum(-1)
    weighted = (window * window).sum(-1)
    share: Array = np.divide(weighted, total, out=np.zeros_like(total), where=total > 0)
    return share


@formula("SPP")
def spatial_pyramid(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Poolings into 1, 2x2, 4x4, ... bins, flattened and joined (``spp_layer.cpp``); one level stays an image."""
    (x,) = bottoms
    levels = []
    for level in range(layer.params.pyramid_height):
        spans = []
        for size in x.shape[2:]:
            kernel = math.ceil(size / 2**level)
            spans.append(Span(size, kernel, kernel, (kernel * 2**level - size + 1) // 2))
        levels.append(pool(x, spans, layer.params.pool)[0])
    if len(levels) == 1:
        return levels
    return [np.concatenate([level.reshape(len(x), -1) for level in levels], axis=1)]


@formula("Upsample")
def upsample(layer: Layer, bottoms: list[Array], blobs: list[Array]) -> list[Array]:
    """Each value goes to the place that the mask of a max pooling gives it, among zeros.

    SegNet's ``upsample_layer.cpp``. With one bottom, as in YOLO's forks: each value is repeated ``scale`` times along
    both axes.
    """
    x, params = bottoms[0], layer.params
    if len(bottoms) == 1:
        return [x.repeat(params.scale, axis=2).repeat(params.scale, axis=3)]
    height, width = _upsampled_size(params, x.shape[2], x.shape[3])
    top = np.zeros((*x.shape[:2], height * width))
    for n, c in np.ndindex(x.shape[:2]):
        for value, place in zip(x[n, c].flat, bottoms[1][n, c].flat, strict=True):
            top[n, c, int(place)] = value
    return [top.reshape(*x.shape[:2], height, width)]


def _upsampled_size(params: Params, height: int, width: int) -> tuple[int, int]:
    if params.is_set("upsample_h") and params.is_set("upsample_w"):
        return params.upsample_h, params.upsample_w
    if params.is_set("upsample_h") or params.is_set("upsample_w"):
        raise NoReferenceError("Upsample needs both upsample_h and upsample_w")
    scales = (params.scale_h, params.scale_w) if params.is_set("scale_h") else (params.scale, params.scale)
    return height * scales[0] - int(params.pad_out_h), width * scales[1] - int(params.pad_out_w)
