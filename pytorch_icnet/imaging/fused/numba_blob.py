"""From an image to the network's blob on the processor: resized, in the network's colours, in planes, in one pass."""

from __future__ import annotations

import numpy as np
import torch

from ...arrays import Bytes, Doubles, Floats, Indices, Size
from ..imresize import BELOW_HALF, plan
from .compiled import compiled, in_parts
from .tiles import TapRows, tap_rows


def blob(image: torch.Tensor, size: Size, order: list[int], table: torch.Tensor) -> torch.Tensor:
    """The blob; see :func:`.torch_blob.blob`. ``image`` is contiguous, on the processor."""
    pixels = image.numpy()
    planned = plan(pixels.shape[:2], size)
    planes = np.empty((3, *planned.size), np.float32)
    rows, columns = tap_rows(planned.rows), tap_rows(planned.columns)
    channels, values = np.array(order), table.numpy()
    make = _rows_first if planned.rows_first else _columns_first
    in_parts(lambda start, stop: make(pixels, rows, columns, channels, values, start, stop, planes), planned.size[0])
    return torch.from_numpy(planes)


@compiled
def _columns_first(
    image: Bytes, rows: TapRows, columns: TapRows, order: Indices, table: Floats, start: int, stop: int, planes: Floats
) -> None:
    """The blob's rows [start, stop), where the columns' scale is the smaller one."""
    lowest, highest = image.shape[0], 0
    for k in range(len(rows.indices)):
        for r in range(start, stop):
            lowest, highest = min(lowest, rows.indices[k, r]), max(highest, rows.indices[k, r])
    width = planes.shape[2]
    samples, total = np.empty(image.shape[1]), np.empty(width)
    wide = np.empty((highest - lowest + 1, width), np.uint8)
    for plane in range(3):
        for y in range(lowest, highest + 1):
            for x in range(len(samples)):
                samples[x] = image[y, x, order[plane]]
            _resize_row(samples, columns, total, wide[y - lowest])
        for r in range(start, stop):
            for k in range(len(rows.indices)):
                source, weight = wide[rows.indices[k, r] - lowest], rows.weights[k, r]
                for x in range(width):
                    total[x] = weight * source[x] + (total[x] if k else 0.0)
            for x in range(width):
                planes[plane, r, x] = table[plane, np.uint8(total[x] + BELOW_HALF)]


@compiled
def _rows_first(
    image: Bytes, rows: TapRows, columns: TapRows, order: Indices, table: Floats, start: int, stop: int, planes: Floats
) -> None:
    """The blob's rows [start, stop), where the rows' scale is the smaller one, or equal."""
    width = planes.shape[2]
    samples, total, resized = np.empty(image.shape[1]), np.empty(width), np.empty(width, np.uint8)
    for plane in range(3):
        for r in range(start, stop):
            for k in range(len(rows.indices)):
                y, weight = rows.indices[k, r], rows.weights[k, r]
                for x in range(len(samples)):
                    samples[x] = weight * image[y, x, order[plane]] + (samples[x] if k else 0.0)
            for x in range(len(samples)):
                samples[x] = np.uint8(samples[x] + BELOW_HALF)
            _resize_row(samples, columns, total, resized)
            for x in range(width):
                planes[plane, r, x] = table[plane, resized[x]]


@compiled
def _resize_row(samples: Doubles, columns: TapRows, total: Doubles, resized: Bytes) -> None:
    """One row along the columns. Weights that are not negative and sum to one need no saturation."""
    for k in range(len(columns.indices)):
        indices, weights = columns.indices[k], columns.weights[k]
        for x in range(len(total)):
            total[x] = weights[x] * samples[indices[x]] + (total[x] if k else 0.0)
    for x in range(len(total)):
        resized[x] = np.uint8(total[x] + BELOW_HALF)
