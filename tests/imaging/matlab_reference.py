"""Comparing arrays that must agree to the last bit, and MATLAB's imresize in slow, obvious loops."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FIXTURES: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "port_fixtures.json").read_text())


def sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def assert_same_bits(ours: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    """Fail, naming the number of differing samples and the worst of them, unless both arrays are equal."""
    assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
    different = ours != expected
    if different.any():
        distance = np.abs(ours.astype(np.float64) - expected.astype(np.float64))
        place = np.unravel_index(distance.argmax(), distance.shape)
        raise AssertionError(
            f"{different.sum()} of {different.size} samples differ, the most by {distance.max()} at "
            f"{tuple(map(int, place))}: {ours[place]} instead of {expected[place]}"
        )


def formula_image() -> npt.NDArray[np.uint8]:
    """The synthetic image of the fixtures, uint8 1024x2048x3."""
    y, x, c = np.ogrid[:1024, :2048, :3]
    return np.asarray((y * y * 31 + x * 17 + c * 101 + ((x * y) >> 3)) & 255, np.uint8)


def formula_scores() -> npt.NDArray[np.float32]:
    """The synthetic quarter-size scores of the fixtures, float32 19x257x513."""
    c, y, x = np.ogrid[:19, :257, :513]
    whole = (y * 37 + x * 57 + c * 91 + (x * y * (c + 1)) // 97) % 1009
    return np.asarray(whole.astype(np.float32) / np.float32(100) - np.float32(5))


def kernel(method: str, x: float) -> float:
    x_abs = abs(x)
    if method == "bilinear":
        return max(0.0, 1.0 - x_abs)
    if method == "nearest":
        return 1.0 if -0.5 <= x < 0.5 else 0.0
    square, cube = x_abs * x_abs, math.pow(x_abs, 3)
    if x_abs <= 1:
        return 1.5 * cube - 2.5 * square + 1
    if x_abs <= 2:
        return -0.5 * cube + 2.5 * square - 4 * x_abs + 2
    return 0.0


def slow_taps(n: int, out: int, method: str, antialias: bool) -> list[list[tuple[int, float]]]:
    """Per output sample its (index from 0, weight) pairs in order, zero weights included."""
    width = {"bilinear": 2.0, "bicubic": 4.0, "nearest": 1.0}[method]
    s = out / n
    table = []
    for x in range(1, out + 1):
        u = x / s + 0.5 * (1 - 1 / s)
        if method == "nearest" and not (antialias and s < 1):
            neighbours, weights = [math.floor(u + 0.5)], [1.0]
        else:
            stretch = s if antialias and s < 1 else 1.0
            left = math.floor(u - width / stretch / 2)
            neighbours = [left + k for k in range(math.ceil(width / stretch) + 2)]
            weights = [stretch * kernel(method, stretch * (u - i)) for i in neighbours]
            total = 0.0
            for weight in weights:
                total += weight
            weights = [weight / total for weight in weights]
        folded = [(i - 1) % (2 * n) for i in neighbours]
        table.append([(i if i < n else 2 * n - 1 - i, w) for i, w in zip(folded, weights, strict=True)])
    return table


def slow_round(value: float, dtype: np.dtype[Any]) -> float:
    if dtype == np.uint8:
        whole = math.floor(abs(value))
        whole += abs(value) - whole >= 0.5
        return min(255, max(0, int(math.copysign(whole, value))))
    return float(dtype.type(value))


def slow_imresize(
    array: npt.NDArray[Any], size: tuple[int, int], method: str, antialias: bool | None
) -> npt.NDArray[Any]:
    """imresize for HxW, one sample after the other."""
    antialias = method != "nearest" if antialias is None else antialias
    scales = [size[axis] / array.shape[axis] for axis in (0, 1)]
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        table = slow_taps(array.shape[axis], size[axis], method, antialias)
        lines = array.T.tolist() if axis == 0 else array.tolist()
        resized = []
        for line in lines:
            samples = []
            for taps in table:
                total = 0.0
                for index, weight in taps:
                    total += weight * line[index]
                samples.append(slow_round(total, array.dtype))
            resized.append(samples)
        result = np.array(resized, array.dtype)
        array = result.T if axis == 0 else result
    return array
