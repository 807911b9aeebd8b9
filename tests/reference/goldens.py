"""What the original Caffe computed with weights made by rule, and how far an array is from it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CONVOLUTIONS = ("Convolution", "Deconvolution", "InnerProduct", "ConvolutionDepthwise", "DepthwiseConvolution")


def seeded_blobs(layer: dict[str, Any], gain: float = 1, bn_scale: float = 1) -> list[Array]:
    """The blobs of one layer of the reference files: ``layer`` has a name, a type and the shapes ``params``."""
    return [
        _seeded(layer["type"], index, layer["name"], tuple(shape), gain, bn_scale)
        for index, shape in enumerate(layer["params"])
    ]


def _seeded(kind: str, index: int, name: str, shape: tuple[int, ...], gain: float, bn_scale: float) -> Array:
    random = np.random.default_rng(zlib.crc32(f"{name}/{index}".encode()))
    normal = random.standard_normal
    if kind in CONVOLUTIONS:
        values = normal(shape) * (gain * np.sqrt(2 / np.prod(shape[1:])) if index == 0 else 0.1)
    elif kind == "BatchNorm":
        mean = normal(shape) * 0.1 * bn_scale  # drawn before the variance, too
        values = (mean, random.uniform(0.5, 1.5, shape) * bn_scale, np.full(shape, bn_scale))[index]
    elif (kind, index) in (("Scale", 0), ("BN", 0), ("BN", 3)):
        values = random.uniform(0.5, 1.5, shape)
    elif kind == "PReLU":
        values = random.uniform(0.1, 0.4, shape)
    elif kind == "Normalize":
        values = random.uniform(5, 20, shape)
    else:
        values = normal(shape) * 0.1
    return values.astype(np.float32)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def distance(value: Array, expected: Array) -> float:
    """max|a - b| / max|b|; infinite where the shapes differ or only one of the two is finite."""
    if value.shape != expected.shape:
        return np.inf
    a, b = value.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    scale = np.abs(b[np.isfinite(b)]).max(initial=0)
    return float(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).max(initial=0) / (scale or 1))


def final_values(layers: Sequence[Any], tops: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """The last value of each blob, given the tops of each layer."""
    values: dict[str, Array] = {}
    for layer, own in zip(layers, tops, strict=True):
        values.update(zip(layer.tops, own, strict=True))
    return values
