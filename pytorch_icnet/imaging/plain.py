"""From scores to label map in the plain implementation: the reference that the fused implementations must equal.

The order matters for the pixels near a boundary: scores to the net's full resolution, softmax,
*probabilities* resized with MATLAB's antialiased ``imresize``, then the first maximum. A few rows are made
at a time, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..arrays import Bytes, Floats, Indices
from .imresize import Plan, Taps

ZOOM = 4
"""conv6_interp's zoom factor in ICNet's deploy nets."""

_BLOCK_ROWS = 32
"""Full-resolution rows that are in memory at once, about."""

_BLOCK_SAMPLES = 1 << 20
"""Full-resolution samples that are in memory at once where single pixels are made, about."""


def label_rows(planes: torch.Tensor, zoom: int, planned: Plan, start: int, stop: int) -> Bytes:
    """The rows [start, stop) of the label map.

    Args:
        planes: the scores, float32 CxHxW, on any device.
        zoom: Interp's factor, from the scores to the size that ``planned`` starts from; 1 or :data:`ZOOM`.
        planned: the resize from there to the image's own size.
        start: first row.
        stop: the row after the last one.

    Returns:
        uint8, (stop - start) x W.
    """
    labels = np.empty((stop - start, planned.size[1]), np.uint8)
    for begin, end, block in probability_rows(planes, zoom, planned, start, stop):
        labels[begin - start : end - start] = first_maximum(block)
    return labels


def probability_rows(
    planes: torch.Tensor, zoom: int, planned: Plan, start: int, stop: int
) -> Iterator[tuple[int, int, Floats]]:
    """Blocks (begin, end, probabilities of the output rows [begin, end): float32 rows x W x C); see label_rows."""
    scores = planes.cpu().numpy()
    height = zoomed(scores.shape[1], zoom)
    step = max(1, _BLOCK_ROWS * planned.size[0] // max(height, planned.size[0]))
    for begin in range(start, stop, step):
        end = min(begin + step, stop)
        first, last = planned.source_rows(begin, end)
        full = _interp(scores, first, last) if zoom > 1 else scores[:, first:last]
        source = np.ascontiguousarray(softmax(full).transpose(1, 2, 0))
        yield begin, end, planned.resample(source, begin, end, first)


def label_pixels(planes: torch.Tensor, zoom: int, planned: Plan, pixels: Indices) -> Bytes:
    """Single pixels of the label map, by the same arithmetic, to the last bit.

    Args:
        planes: as for :func:`label_rows`.
        zoom: likewise.
        planned: likewise.
        pixels: (N,), indices into the flattened label map.

    Returns:
        uint8 (N,).
    """
    taps = planned.rows.indices.shape[1] * planned.columns.indices.shape[1]
    step = max(1, _BLOCK_SAMPLES // (planes.shape[0] * taps))
    blocks = [_label_pixels(planes, zoom, planned, pixels[k : k + step]) for k in range(0, len(pixels), step)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.uint8)


def _label_pixels(planes: torch.Tensor, zoom: int, planned: Plan, pixels: Indices) -> Bytes:
    row, column = np.divmod(pixels, planned.size[1])
    y, x = planned.rows.indices[row], planned.columns.indices[column]
    below, right = _neighbours(y, zoom, planes.shape[1]), _neighbours(x, zoom, planes.shape[2])
    places = below[:, :, None, :, None], right[:, None, :, None, :]
    device = planes.device
    corners = planes[:, torch.from_numpy(places[0]).to(device), torch.from_numpy(places[1]).to(device)].cpu().numpy()
    across = _phase(x, zoom)[:, None, :, None]
    down = _phase(y, zoom)[:, :, None]
    sides = (1 - across) * corners[..., 0] + across * corners[..., 1]
    source = softmax((1 - down) * sides[..., 0] + down * sides[..., 1])  # C x N x row taps x column taps
    passes = [(planned.rows, row, 2), (planned.columns, column, -1)]
    for taps, position, axis in passes if planned.rows_first else reversed(passes):
        source = _weigh(source, taps, position, axis)
    return first_maximum(np.moveaxis(source.reshape(len(source), len(pixels)), 0, -1))


def _neighbours(position: Indices, zoom: int, length: int) -> Indices:
    """... x 2: the scores on both sides of full-resolution positions."""
    before = position // zoom
    return np.stack([before, np.minimum(before + 1, length - 1)], axis=-1)


def _phase(position: Indices, zoom: int) -> Floats:
    """Interp's weight of the score after a full-resolution position."""
    return ((position % zoom) / zoom).astype(np.float32)


def _weigh(source: Floats, taps: Taps, position: Indices, axis: int) -> Floats:
    """One pass of imresize over the samples along ``axis``, which stays, with length 1."""
    weights = taps.weights[position]
    total = np.zeros((), np.float64)
    for k in range(weights.shape[1]):
        weight = weights[:, k].reshape(1, -1, *[1] * (source.ndim - 2))
        total = total + source.take([k], axis=axis) * weight
    return total.astype(np.float32)


def first_maximum(values: Floats) -> Bytes:
    """Index of the first largest value along the last axis, NaN ignored, as MATLAB's ``max`` chooses."""
    return np.asarray(np.where(np.isnan(values), -np.inf, values).argmax(axis=-1), np.uint8)


def zoomed(length: int, zoom: int = ZOOM) -> int:
    """The length that Interp makes of ``length``."""
    return length + (length - 1) * (zoom - 1)


def _interp(planes: Floats, first: int, last: int) -> Floats:
    """The rows [first, last) of Interp's result, from no more rows of the scores than they need."""
    upper, lower = first // ZOOM, min((last - 1) // ZOOM + 2, planes.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        return interp_rows(interp_columns(planes[:, upper:lower]), first - ZOOM * upper, last - ZOOM * upper)


def interp_columns(planes: Floats) -> Floats:
    """The horizontal half of Caffe's Interp with zoom 4: ... x W -> ... x 4W-3, float32.

    Together with :func:`interp_rows` this is (1-ly) * ((1-lx)*a + lx*b) + ly * (...), the order of the
    operands in Caffe's ``util/interp.cpp``; with this zoom all of its weights are exact.
    """
    left, right = planes[..., :-1], planes[..., 1:]
    result = np.empty((*planes.shape[:-1], zoomed(planes.shape[-1])), np.float32)
    result[..., -1] = planes[..., -1]
    for phase in range(ZOOM):
        weight = np.float32(phase / ZOOM)
        result[..., phase:-1:ZOOM] = (1 - weight) * left + weight * right
    return result


def interp_rows(planes: Floats, first: int, last: int) -> Floats:
    """The rows [first, last) of the vertical half, from C x H x W; see :func:`interp_columns`."""
    position = np.arange(first, last)
    weight = ((position % ZOOM) / ZOOM).astype(np.float32)[:, None]
    upper = position // ZOOM
    lower = np.minimum(upper + 1, planes.shape[1] - 1)
    return (1 - weight) * planes[:, upper] + weight * planes[:, lower]


def softmax(scores: Floats) -> Floats:
    """Softmax over the first axis in float32; the exponentials are added in the order of the classes."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinities become NaN, as they do in the original
        exponentials: Floats = np.exp(scores - scores.max(axis=0))
    total = exponentials[0].copy()
    for plane in exponentials[1:]:
        total += plane
    exponentials /= total
    return exponentials
