"""The label map on a GPU, by one Triton kernel: a program makes a block of pixels, and skips it if it is certified."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import triton
import triton.language as tl

from ...arrays import Size
from . import torch_labels
from .tiles import MARGIN, RELATIVE, Axis, Candidate, Tiling, may_list, tiling

_ROWS, _COLUMNS = 4, 32
"""Pixels of a program: a row of Interp's cells where the map is about as large as the net's input."""


def fits(geometry: Tiling) -> bool:
    """Whether a pixel is made of no more than 2x2 neighbours, as it is where the map is not smaller than the input."""
    return len(geometry.rows.weights) <= 2 and len(geometry.columns.weights) <= 2


def candidate(scores: torch.Tensor, geometry: Tiling) -> Candidate | None:
    """The label map of scores, float32 C x corner rows x corner columns; None if one is not finite."""
    if not fits(geometry):
        return torch_labels.candidate(scores, geometry)
    labels, uncertain, notes = launch(scores, geometry)
    count, spoilt = notes.tolist()
    if spoilt or count > len(uncertain):
        return None
    return Candidate(labels.cpu().numpy(), uncertain[:count].cpu().numpy())


def launch(scores: torch.Tensor, geometry: Tiling) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Start the kernel, without waiting for it.

    Returns:
        The labels, uint8 HxW; the flat indices of uncertain pixels, int64, in any order; and two int32: how many there
        are (the list holds the first of them), and whether a score is not finite (then the labels mean nothing).
    """
    scores = scores.contiguous()
    classes, corner_height, corner_width = scores.shape
    height, width = geometry.size
    labels = torch.empty(geometry.size, dtype=torch.uint8, device=scores.device)
    uncertain = torch.empty(may_list(labels.numel()), dtype=torch.int64, device=scores.device)
    notes = torch.zeros(2, dtype=torch.int32, device=scores.device)
    tables, (corner_rows, corner_columns) = _tables(geometry.full_size, geometry.size, geometry.zoom, scores.device)
    grid = (triton.cdiv(width, _COLUMNS), triton.cdiv(height, _ROWS))
    # Without fusion the interpolated scores have the plain implementation's bits, on which the proof in `tiles` rests.
    _label[grid](
        scores,
        labels,
        uncertain,
        notes,
        *tables,
        height,
        width,
        corner_height,
        corner_width,
        len(uncertain),
        geometry.doubt(classes),
        CLASSES=classes,
        ZOOM=geometry.zoom,
        MARGIN=float(MARGIN),
        RELATIVE=float(RELATIVE),
        ROWS=_ROWS,
        COLUMNS=_COLUMNS,
        CORNER_ROWS=corner_rows,
        CORNER_COLUMNS=corner_columns,
        enable_fp_fusion=False,
    )
    return labels, uncertain, notes


@lru_cache(maxsize=8)
def _tables(full_size: Size, size: Size, zoom: int, device: torch.device) -> tuple[list[torch.Tensor], tuple[int, int]]:
    """On a device: first sources (outputs,) and weights (2, outputs) of the rows, then of the columns.

    And the most rows and columns of scores that a block of pixels depends on, as powers of two.
    """
    geometry = tiling(full_size, size, zoom)
    tables = []
    for axis in (geometry.rows, geometry.columns):
        weights = np.zeros((2, len(axis.first)), np.float32)
        weights[: len(axis.weights)] = axis.weights
        tables += [torch.from_numpy(axis.first).to(device), torch.from_numpy(weights).to(device)]
    return tables, (_corners(geometry.rows, zoom, _ROWS), _corners(geometry.columns, zoom, _COLUMNS))


def _corners(axis: Axis, zoom: int, block: int) -> int:
    """The most corners that ``block`` outputs in a row depend on, rounded up to a power of two."""
    lowest = axis.first[::block]
    highest = axis.first[np.minimum(np.arange(len(lowest)) * block + block, len(axis.first)) - 1] + 1
    return int(triton.next_power_of_2(int((-(-highest // zoom) - lowest // zoom).max()) + 1))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _label(
    scores: tl.tensor,
    labels: tl.tensor,
    uncertain: tl.tensor,
    notes: tl.tensor,
    row_first: tl.tensor,
    row_weights: tl.tensor,
    column_first: tl.tensor,
    column_weights: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    corner_height: tl.tensor,
    corner_width: tl.tensor,
    capacity: tl.tensor,
    doubt: tl.tensor,
    CLASSES: tl.constexpr,
    ZOOM: tl.constexpr,
    MARGIN: tl.constexpr,
    RELATIVE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    CORNER_ROWS: tl.constexpr,
    CORNER_COLUMNS: tl.constexpr,
) -> None:
    """Label a block of ROWS x COLUMNS pixels."""
    top, left = tl.program_id(1) * ROWS, tl.program_id(0) * COLUMNS
    pixel = tl.arange(0, ROWS * COLUMNS)
    row, column = top + pixel // COLUMNS, left + pixel % COLUMNS
    inside = (row < height) & (column < width)
    row, column = tl.minimum(row, height - 1), tl.minimum(column, width - 1)
    target = row.to(tl.int64) * width + column
    plane = corner_height * corner_width

    first = tl.load(row_first + top) // ZOOM
    last = (tl.load(row_first + tl.minimum(top + ROWS, height) - 1) + ZOOM) // ZOOM
    y = tl.minimum(first + tl.arange(0, CORNER_ROWS), tl.minimum(last, corner_height - 1))
    first = tl.load(column_first + left) // ZOOM
    last = (tl.load(column_first + tl.minimum(left + COLUMNS, width) - 1) + ZOOM) // ZOOM
    x = tl.minimum(first + tl.arange(0, CORNER_COLUMNS), tl.minimum(last, corner_width - 1))
    lowest, highest = _agreement(
        scores + y[:, None] * corner_width + x[None, :], plane, notes, CLASSES, MARGIN, RELATIVE
    )
    if lowest == highest:
        tl.store(labels + target, tl.zeros_like(target).to(tl.uint8) + lowest.to(tl.uint8), mask=inside)
    else:
        source_y, source_x = tl.load(row_first + row), tl.load(column_first + column)
        above, before = source_y // ZOOM, source_x // ZOOM
        down, across = (source_y % ZOOM).to(tl.float32) * (1 / ZOOM), (source_x % ZOOM).to(tl.float32) * (1 / ZOOM)
        upper, lower = above * corner_width, tl.minimum(above + 1, corner_height - 1) * corner_width
        after = tl.minimum(before + 1, corner_width - 1)
        best, second, label = _two_best(
            scores + upper + before,
            scores + upper + after,
            scores + lower + before,
            scores + lower + after,
            plane,
            down,
            across,
            tl.load(row_weights + row),
            tl.load(row_weights + height + row),
            tl.load(column_weights + column),
            tl.load(column_weights + width + column),
            CLASSES,
            ZOOM,
        )
        tl.store(labels + target, label.to(tl.uint8), mask=inside)
        doubted = inside & (best - second <= doubt)
        place = tl.atomic_add(notes + tl.zeros_like(pixel), 1, mask=doubted)
        tl.store(uncertain + place, target, mask=doubted & (place < capacity))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _agreement(
    corner: tl.tensor,
    plane: tl.tensor,
    notes: tl.tensor,
    CLASSES: tl.constexpr,
    MARGIN: tl.constexpr,
    RELATIVE: tl.constexpr,
) -> tl.tensor:
    """The lowest and the highest best class of some corners; different ones unless all are clear."""
    best = tl.load(corner)
    second = best * 0 - float("inf")
    spoilt = best * 0
    label = tl.zeros_like(best).to(tl.int32)
    for k in range(1, CLASSES):
        score = tl.load(corner + k * plane)
        spoilt += score * 0
        better = score > best
        second = tl.maximum(second, tl.where(better, best, score))
        best = tl.where(better, score, best)
        label = tl.where(better, k, label)
    if tl.sum(tl.where(spoilt == 0, 0, 1)) > 0:
        tl.store(notes + 1, 1)
    clear = best - second > MARGIN + RELATIVE * tl.abs(best)
    return tl.min(tl.where(clear, label, -1)), tl.max(tl.where(clear, label, CLASSES))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _two_best(
    upper_left: tl.tensor,
    upper_right: tl.tensor,
    lower_left: tl.tensor,
    lower_right: tl.tensor,
    plane: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    weight_0: tl.tensor,
    weight_1: tl.tensor,
    weight_2: tl.tensor,
    weight_3: tl.tensor,
    CLASSES: tl.constexpr,
    ZOOM: tl.constexpr,
) -> tl.tensor:
    """The largest probability of each pixel, the second largest, and the class of the largest.

    Three passes over the classes keep in registers what is needed of a pixel's four sources: the maximum, the sum of
    the exponentials, the result.
    """
    low = down * 0 - float("inf")
    m00, m01, m10, m11 = low, low, low, low
    for k in range(CLASSES):
        s00, s01, s10, s11 = _sources(
            upper_left + k * plane, upper_right + k * plane, lower_left + k * plane, lower_right + k * plane,
            down, across, ZOOM,
        )  # fmt: skip
        m00, m01 = tl.maximum(m00, s00), tl.maximum(m01, s01)
        m10, m11 = tl.maximum(m10, s10), tl.maximum(m11, s11)
    z00, z01, z10, z11 = down * 0, down * 0, down * 0, down * 0
    for k in range(CLASSES):
        s00, s01, s10, s11 = _sources(
            upper_left + k * plane, upper_right + k * plane, lower_left + k * plane, lower_right + k * plane,
            down, across, ZOOM,
        )  # fmt: skip
        z00, z01 = z00 + tl.exp(s00 - m00), z01 + tl.exp(s01 - m01)
        z10, z11 = z10 + tl.exp(s10 - m10), z11 + tl.exp(s11 - m11)
    w00, w01 = weight_0 * weight_2 / z00, weight_0 * weight_3 / z01
    w10, w11 = weight_1 * weight_2 / z10, weight_1 * weight_3 / z11
    best, second, label = low, low, tl.zeros_like(down).to(tl.int32)
    for k in range(CLASSES):
        s00, s01, s10, s11 = _sources(
            upper_left + k * plane, upper_right + k * plane, lower_left + k * plane, lower_right + k * plane,
            down, across, ZOOM,
        )  # fmt: skip
        value = w00 * tl.exp(s00 - m00) + w01 * tl.exp(s01 - m01)
        value += w10 * tl.exp(s10 - m10) + w11 * tl.exp(s11 - m11)
        better = value > best
        second = tl.maximum(second, tl.where(better, best, value))
        best = tl.where(better, value, best)
        label = tl.where(better, k, label)
    return best, second, label


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _sources(
    upper_left: tl.tensor,
    upper_right: tl.tensor,
    lower_left: tl.tensor,
    lower_right: tl.tensor,
    down: tl.tensor,
    across: tl.tensor,
    ZOOM: tl.constexpr,
) -> tl.tensor:
    """Interp's samples at a pixel's first source and its right, lower and lower right neighbours, in Caffe's order."""
    a, b, c, d = tl.load(upper_left), tl.load(upper_right), tl.load(lower_left), tl.load(lower_right)
    right, below = across + 1 / ZOOM, down + 1 / ZOOM
    a0, a1 = (1 - across) * a + across * b, (1 - right) * a + right * b
    c0, c1 = (1 - across) * c + across * d, (1 - right) * c + right * d
    return (
        (1 - down) * a0 + down * c0,
        (1 - down) * a1 + down * c1,
        (1 - below) * a0 + below * c0,
        (1 - below) * a1 + below * c1,
    )
