"""MATLAB's ``imresize``, bit for bit.

The rules were checked against public outputs of MATLAB R2015b, R2017b and R2019a. Three of them are easy to
miss, and each changes natural images: shrinking widens the kernel (antialiasing), the axis with the smaller
scale goes first, and integers are rounded after *each* of the two passes.

Everything is computed in double, one multiplication and one addition at a time and taps in ascending order,
so the result does not depend on the machine, the number of threads or the block size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..arrays import Doubles, Indices, Size

Pixel = TypeVar("Pixel", np.uint8, np.float32, np.float64)

BLOCK_BYTES = 1 << 20
"""Size of a block's doubles: about what stays in a core's cache."""

BELOW_HALF = math.nextafter(0.5, 0)
"""Adding this and truncating rounds any x >= 0 half away from zero. Adding 0.5 would not: the double just
below one half would become 1."""


@dataclass(frozen=True)
class Taps:
    """How one axis is resampled: output i is the sum over k of ``weights[i, k] * input[indices[i, k]]``."""

    indices: Indices
    """(output length, taps), from 0."""
    weights: Doubles
    """(output length, taps); each row sums to about one."""


@dataclass(frozen=True)
class Plan:
    """How an image is resampled: the taps of both axes, and which goes first."""

    rows: Taps
    columns: Taps
    rows_first: bool

    @property
    def size(self) -> Size:
        """Height and width of the result."""
        return len(self.rows.indices), len(self.columns.indices)

    def source_rows(self, start: int, stop: int) -> tuple[int, int]:
        """The input rows [first, last) that the output rows [start, stop) are made of."""
        indices = self.rows.indices[start:stop]
        return int(indices.min()), int(indices.max()) + 1

    def resample(self, source: npt.NDArray[Pixel], start: int, stop: int, offset: int = 0) -> npt.NDArray[Pixel]:
        """The output rows [start, stop), rows x W x C, from input rows of which the first is row ``offset``."""
        result = np.empty((stop - start, self.size[1], source.shape[2]), source.dtype)
        step = self._block_rows(source.shape[1:])
        for begin in range(start, stop, step):
            end = min(begin + step, stop)
            first, last = self.source_rows(begin, end)
            block = source[first - offset : last - offset]
            rows = Taps(self.rows.indices[begin:end] - first, self.rows.weights[begin:end])
            passes = [(rows, 0), (self.columns, 1)]
            for taps, axis in passes if self.rows_first else reversed(passes):
                block = _resample_axis(block, taps, axis)
            result[begin - start : end - start] = block
        return result

    def _block_rows(self, source_row: tuple[int, ...]) -> int:
        """How many output rows to make at once, so that the doubles of both passes take about BLOCK_BYTES."""
        width, channels = source_row
        height = len(self.rows.indices)
        samples = channels * max(width, self.size[1]) * max(1.0, (self.rows.indices.max() + 1) / height)
        return max(1, int(BLOCK_BYTES / (8 * samples)))


def imresize(
    array: npt.NDArray[Pixel], size: Size, method: str = "bilinear", antialias: bool | None = None
) -> npt.NDArray[Pixel]:
    """Resize an image as MATLAB's ``imresize(array, size, method)`` does, to the last bit.

    Args:
        array: HxW or HxWxC; uint8, float32 (MATLAB's single) or float64 (double), of any range.
        size: height and width of the result, at least 1.
        method: "bilinear", "bicubic" (Keys' cubic, a = -1/2) or "nearest".
        antialias: whether the kernel is widened where an axis shrinks. None: yes, but not for "nearest".

    Returns:
        A new array of ``size`` (and C) with ``array``'s dtype. uint8 is rounded half away from zero and
        saturated after each pass, float32 is rounded to float32 after each pass.

    Raises:
        TypeError: another dtype.
        ValueError: another number of dimensions, an empty array or size, or an unknown method.
    """
    array = np.asarray(array)
    if array.dtype not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"imresize takes uint8, float32 and float64 arrays, not {array.dtype}")
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"imresize takes arrays of HxW or HxWxC, not of shape {array.shape}")
    planned = plan(array.shape[:2], tuple(size), method, antialias)
    height, width = planned.size
    result = planned.resample(array.reshape(*array.shape[:2], -1), 0, height)
    return result.reshape(height, width, *array.shape[2:])


@lru_cache(maxsize=16)
def plan(
    source: tuple[int, ...], size: tuple[int, ...], method: str = "bilinear", antialias: bool | None = None
) -> Plan:
    """The taps for resizing (height, width) ``source`` to ``size``; arguments as for :func:`imresize`."""
    if method not in _KERNELS:
        raise ValueError(f"method is one of {', '.join(_KERNELS)}, not {method!r}")
    if len(size) != 2 or any(int(length) != length or length < 1 for length in size):
        raise ValueError(f"size is (height, width), both whole numbers of at least 1, not {size}")
    rows, columns = (_taps(n, int(out), method, antialias) for n, out in zip(source, size, strict=True))
    # The smaller scale goes first, and rows where both are equal (a stable sort).
    return Plan(rows, columns, rows_first=size[0] / source[0] <= size[1] / source[1])


def _triangle(x: Doubles) -> Doubles:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: Doubles) -> Doubles:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -1/2."""
    x = np.abs(x)
    square = x * x
    # The C library's pow, as in MATLAB; NumPy's own differs between processors in the last bit.
    cube = np.fromiter(map(math.pow, x.flat, repeat(3.0)), np.float64, x.size).reshape(x.shape)
    inner = 1.5 * cube - 2.5 * square + 1.0
    outer = -0.5 * cube + 2.5 * square - 4.0 * x + 2.0
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _box(x: Doubles) -> Doubles:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


_KERNELS: dict[str, tuple[Callable[[Doubles], Doubles], float]] = {
    "bilinear": (_triangle, 2.0),
    "bicubic": (_cubic, 4.0),
    "nearest": (_box, 1.0),
}


def _taps(n: int, out: int, method: str, antialias: bool | None) -> Taps:
    """The taps that make ``out`` samples of ``n``."""
    kernel, width = _KERNELS[method]
    scale = out / n
    position = np.arange(1, out + 1, dtype=np.float64)
    centre = position / scale + 0.5 * (1 - 1 / scale)  # in the input, from 1
    widened = antialias if antialias is not None else method != "nearest"
    if method == "nearest" and not (widened and scale < 1):
        return Taps(_mirror(np.floor(centre + 0.5)[:, None], n), np.ones((out, 1)))
    stretch = scale if widened and scale < 1 else 1.0
    width /= stretch
    left = np.floor(centre - width / 2)
    neighbours = left[:, None] + np.arange(math.ceil(width) + 2, dtype=np.float64)
    weights = stretch * kernel(stretch * (centre[:, None] - neighbours))
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # cumsum adds from left to right
    used = (weights != 0).any(axis=0)
    return Taps(_mirror(neighbours, n)[:, used], weights[:, used])


def _mirror(positions: Doubles, n: int) -> Indices:
    """Positions from 1, reflected at the borders (the border sample repeats), as indices from 0."""
    folded = np.mod(positions - 1, 2 * n).astype(np.int64)
    return np.where(folded < n, folded, 2 * n - 1 - folded)


def _resample_axis(source: npt.NDArray[Pixel], taps: Taps, axis: int) -> npt.NDArray[Pixel]:
    """One pass over HxWxC, rounded to the dtype of ``source``."""
    height, width, channels = source.shape
    if axis == 0:
        gathered = source.reshape(height, width * channels)
        weights = taps.weights
    else:
        gathered = source
        weights = taps.weights.repeat(channels, axis=0)
    total: Doubles | None = None
    for k in range(taps.weights.shape[1]):
        samples = gathered.take(taps.indices[:, k], axis=axis)
        flat = samples.reshape(samples.shape[0], -1)
        term = np.multiply(flat, weights[:, k, None] if axis == 0 else weights[:, k], dtype=np.float64)
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None
    shape = (len(taps.indices), width, channels) if axis == 0 else (height, len(taps.indices), channels)
    return _to_class(total, source.dtype).reshape(shape)


def _to_class(values: Doubles, dtype: np.dtype[Pixel]) -> npt.NDArray[Pixel]:
    """Doubles in MATLAB's conversion to ``dtype``: integers rounded half away from zero and saturated."""
    if dtype != np.uint8:
        return values.astype(dtype, copy=False)
    values += BELOW_HALF
    return np.clip(values, 0, 255, out=values).astype(dtype)
