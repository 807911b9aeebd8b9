"""Caffe's fillers (``filler.hpp``), seeded, for layers without stored weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from prototxt import Params

from .errors import LayerError


def fill(shape: tuple[int, ...], filler: Params | None, generator: np.random.Generator) -> torch.Tensor:
    """A float32 tensor as Caffe's filler would make it (the distribution is Caffe's, the stream of numbers is NumPy's).

    Args:
        shape: of the blob.
        filler: a ``FillerParameter``; None is the constant 0.
        generator: the source of randomness.

    Raises:
        LayerError: a filler type that Caffe does not have, or one that does not suit the shape.
    """
    kind = "constant" if filler is None else filler.type
    value = 0.0 if filler is None else filler.value
    if kind == "constant" or filler is None:
        return torch.full(shape, value, dtype=torch.float32)
    count = math.prod(shape)
    values: NDArray[np.float64]
    if kind == "uniform":
        values = generator.uniform(filler.min, filler.max, count)
    elif kind == "gaussian":
        values = generator.normal(filler.mean, filler.std, count)
        if filler.sparse >= 0 and shape:
            values *= generator.random(count) < filler.sparse / shape[0]
    elif kind == "positive_unitball":
        rows = generator.random((shape[0], -1 if not count else count // shape[0]))
        values = (rows / rows.sum(axis=1, keepdims=True)).ravel()
    elif kind == "xavier":
        bound = math.sqrt(3.0 / _fan(shape, filler))
        values = generator.uniform(-bound, bound, count)
    elif kind == "msra":
        values = generator.normal(0.0, math.sqrt(2.0 / _fan(shape, filler)), count)
    elif kind == "bilinear":
        values = _bilinear(shape)
    else:
        raise LayerError(f"unknown filler type {kind!r}")
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def _fan(shape: tuple[int, ...], filler: Params) -> float:
    count = math.prod(shape)
    fan_in = count / shape[0] if shape else 1.0
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    fans = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}
    return max(fans[filler.variance_norm], 1.0)


def _bilinear(shape: tuple[int, ...]) -> NDArray[np.float64]:
    if len(shape) != 4 or shape[2] != shape[3]:
        raise LayerError(f"the bilinear filler needs a square 4-D blob, not {list(shape)}")
    size = shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    line = 1 - np.abs(np.arange(size) / factor - centre)
    return np.broadcast_to(np.outer(line, line), shape).ravel()
