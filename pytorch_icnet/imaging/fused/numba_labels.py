"""The label map on the processor.

A row of tiles at a time: the tiles that are certified are filled, the source columns of the others are laid side by
side in a strip, and the strip is evaluated class by class, so that every inner loop runs over neighbours in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ...arrays import Bytes, Floats, Indices, Ints
from .compiled import compiled, in_parts
from .tiles import MARGIN, RELATIVE, Axis, Candidate, Tiling, may_list

Tops = npt.NDArray[np.int16]

_CAPACITY = 512
"""Source columns in a strip: with 19 classes and 5 rows 200 KB, which stay in a core's second-level cache."""

_UNCLEAR = np.int16(-1)
_ZERO, _ONE = np.float32(0), np.float32(1)

# exp(x) = 2^n exp(r) with |r| <= log(2) / 2: Cody and Waite, "Software Manual for the Elementary Functions", 1980;
# the polynomial's coefficients are those of Cephes' expf. Adding _SHIFT rounds to a whole number, whose bits are then
# the lowest of the sum.
_LOWEST = np.float32(-87)
_LOG2_E = np.float32(1.4426950408889634)
_SHIFT = np.float32(1.5 * 2**23)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_MANTISSA_BITS, _EXPONENT_BIAS = np.int32(23), np.int32(127 << 23)


def candidate(planes: torch.Tensor, geometry: Tiling) -> Candidate | None:
    """The label map of scores, float32 C x corner rows x corner columns; None if one is not finite."""
    scores = planes.contiguous().numpy()
    classes, height, width = scores.shape
    tops = np.empty((height, width), np.int16)
    if not all(in_parts(lambda start, stop: _clear_tops(scores, start, stop, MARGIN, RELATIVE, tops), height)):
        return None
    labels = np.empty(geometry.size, np.uint8)
    rows = geometry.rows
    code_mask = (1 << (classes - 1).bit_length()) - 1
    # A class takes the place of its probability's lowest bits, so each of the two may be off by as much.
    doubt = np.float32(geometry.doubt(classes) + 2 * code_mask * 2**-24)

    def label(start: int, stop: int) -> tuple[Indices, tuple[int, int] | None]:
        first, last = int(rows.tiles[start]), int(rows.tiles[stop])
        uncertain = np.empty(may_list((last - first) * geometry.size[1]), np.int64)
        strip, work = _memory(classes, geometry)
        agreed = np.empty(width, np.int16)
        count = _label_tiles(
            scores, tops, agreed, geometry, strip, work, start, stop, np.int32(code_mask), doubt, labels, uncertain
        )
        return (uncertain[:count], None) if count <= len(uncertain) else (uncertain[:0], (first, last))

    uncertain, dense_rows = zip(*in_parts(label, len(rows.corners)), strict=True)
    return Candidate(labels, np.concatenate(uncertain), tuple(filter(None, dense_rows)))


class _Strip(NamedTuple):
    """Source columns to evaluate, side by side."""

    left: npt.NDArray[np.uint32]
    """(capacity,): the corner column before each."""
    right: npt.NDArray[np.uint32]
    """(capacity,): the one after it."""
    phase: Floats
    """(capacity,): Interp's weight of the latter."""
    column: Ints
    """(layers, capacity): the output column that begins there, -1 if none does."""
    weights: Floats
    """(layers, taps, capacity): its weights."""


class _Work(NamedTuple):
    """Memory for a strip and the sources of one row of tiles."""

    across: Floats
    """(corner rows, capacity): one class's scores after Interp's horizontal half."""
    exponentials: Floats
    """(C, source rows, capacity): scores first, then their exponentials."""
    highest: Floats
    """(source rows, capacity): the largest score."""
    share: Floats
    """(source rows, capacity): one over the sum of the exponentials."""
    row_weights: Floats
    """(output rows, taps, capacity): weights of the rows, with the share in them."""
    row: Floats
    """(capacity + taps): one class and output row, resized along the rows."""
    value: Floats
    """(capacity,): then along the columns: probabilities."""
    best: Ints
    """(output rows, layers, capacity): the largest probability, its class in the lowest bits."""
    second: Ints
    """(output rows, layers, capacity): the second largest."""


def _memory(classes: int, geometry: Tiling) -> tuple[_Strip, _Work]:
    """A strip, and room to evaluate it for any row of tiles."""
    rows, columns, zoom, _ = geometry
    layers, taps = int(columns.layer.max()) + 1, len(columns.weights)
    capacity = max(_CAPACITY, int(np.ptp(columns.sources, axis=1).max()) + 1)
    sources = int(np.ptp(rows.sources, axis=1).max()) + 1
    corners = int((-(-rows.sources[:, 1] // zoom) - rows.sources[:, 0] // zoom).max()) + 1
    outputs = int(np.diff(rows.tiles).max())
    strip = _Strip(
        left=np.empty(capacity, np.uint32),
        right=np.empty(capacity, np.uint32),
        phase=np.empty(capacity, np.float32),
        column=np.empty((layers, capacity), np.int32),
        weights=np.empty((layers, taps, capacity), np.float32),
    )
    work = _Work(
        across=np.empty((corners, capacity), np.float32),
        exponentials=np.empty((classes, sources, capacity), np.float32),
        highest=np.empty((sources, capacity), np.float32),
        share=np.empty((sources, capacity), np.float32),
        row_weights=np.empty((outputs, len(rows.weights), capacity), np.float32),
        row=np.zeros(capacity + taps, np.float32),
        value=np.empty(capacity, np.float32),
        best=np.empty((outputs, layers, capacity), np.int32),
        second=np.empty((outputs, layers, capacity), np.int32),
    )
    return strip, work


@compiled
def _clear_tops(scores: Floats, start: int, stop: int, margin: np.float32, relative: np.float32, tops: Tops) -> bool:
    """The best class of every clear corner in the rows [start, stop), and whether all scores are finite."""
    classes, _, width = scores.shape
    best, second, spoilt = np.empty(width, np.float32), np.empty(width, np.float32), np.zeros(width, np.float32)
    for y in range(start, stop):
        top = tops[y]
        for x in range(width):
            best[x], second[x], top[x] = -np.inf, -np.inf, 0
        for c in range(classes):
            row, index = scores[c, y], np.int16(c)
            for x in range(width):
                score, before = row[x], best[x]
                better = score > before
                second[x] = max(second[x], before if better else score)
                best[x] = score if better else before
                top[x] = index if better else top[x]
                spoilt[x] += score * _ZERO
        for x in range(width):
            clear = best[x] - second[x] > margin + relative * abs(best[x])
            top[x] = top[x] if clear else _UNCLEAR
    finite = True
    for x in range(width):
        finite &= spoilt[x] == _ZERO
    return finite


@compiled
def _label_tiles(
    scores: Floats,
    tops: Tops,
    agreed: Tops,
    geometry: Tiling,
    strip: _Strip,
    work: _Work,
    start: int,
    stop: int,
    code_mask: np.int32,
    doubt: np.float32,
    labels: Bytes,
    uncertain: Indices,
) -> np.int64:
    """Label the rows [start, stop) of tiles; returns how many pixels are uncertain, ``uncertain`` listing the first."""
    rows, columns, zoom, _ = geometry
    count = np.int64(0)
    for tile in range(start, stop):
        _agree(tops, rows.corners[tile, 0], rows.corners[tile, 1], agreed)
        used, last = np.int64(0), np.int64(-2)
        for j in range(len(columns.corners) + 1):
            finished = j == len(columns.corners)
            if finished or used + columns.sources[j, 1] - columns.sources[j, 0] >= len(strip.left):
                _interpolate(scores, zoom, rows.sources[tile, 0], rows.sources[tile, 1], strip, used, work)
                _exponentiate(rows.sources[tile, 1] - rows.sources[tile, 0] + 1, used, work)
                _compare(rows, tile, strip, used, work, code_mask)
                count = _write(rows, tile, strip, used, work, code_mask, doubt, labels, uncertain, count)
                used, last = np.int64(0), np.int64(-2)
            if finished:
                break
            top = agreed[columns.corners[j, 0]]
            for p in range(columns.corners[j, 0] + 1, columns.corners[j, 1] + 1):
                top = top if agreed[p] == top else _UNCLEAR
            if top == _UNCLEAR:
                used, last = _append(strip, used, last, columns, j, zoom, len(agreed))
                continue
            for r in range(rows.tiles[tile], rows.tiles[tile + 1]):
                for c in range(columns.tiles[j], columns.tiles[j + 1]):
                    labels[r, c] = top
    return count


@compiled
def _agree(tops: Tops, first: int, last: int, agreed: Tops) -> None:
    """The class that the corner rows [first, last] agree on, for every column."""
    for x in range(len(agreed)):
        agreed[x] = tops[first, x]
    for q in range(first + 1, last + 1):
        row = tops[q]
        for x in range(len(agreed)):
            agreed[x] = agreed[x] if agreed[x] == row[x] else _UNCLEAR


@compiled
def _append(
    strip: _Strip, used: np.int64, last: np.int64, columns: Axis, j: int, zoom: int, corner_columns: int
) -> tuple[np.int64, np.int64]:
    """Append the sources of tile ``j`` that the strip, which ends with source ``last``, has not yet."""
    layers, taps, _ = strip.weights.shape
    begin, end = max(columns.sources[j, 0], last + 1), columns.sources[j, 1]
    shift = used - begin
    for x in range(begin, end + 1):
        strip.left[used] = x // zoom
        strip.right[used] = min(x // zoom + 1, corner_columns - 1)
        strip.phase[used] = np.float32(x % zoom) / np.float32(zoom)
        for layer in range(layers):
            strip.column[layer, used] = -1
            for k in range(taps):
                strip.weights[layer, k, used] = _ZERO
        used += 1
    for c in range(columns.tiles[j], columns.tiles[j + 1]):
        layer, at = columns.layer[c], columns.first[c] + shift
        strip.column[layer, at] = c
        for k in range(taps):
            strip.weights[layer, k, at] = columns.weights[k, c]
    return used, np.int64(end)


@compiled
def _interpolate(scores: Floats, zoom: int, first: int, last: int, strip: _Strip, used: np.int64, work: _Work) -> None:
    """Interp for the source rows [first, last], in the order of :func:`..plain.interp_columns`; and the maximum."""
    classes, height, _ = scores.shape
    upper = first // zoom
    for c in range(classes):
        for q in range(upper, min(-(-last // zoom), height - 1) + 1):
            corners, across = scores[c, q], work.across[q - upper]
            for x in range(used):
                phase = strip.phase[x]
                across[x] = (_ONE - phase) * corners[strip.left[x]] + phase * corners[strip.right[x]]
        for y in range(first, last + 1):
            above = work.across[y // zoom - upper]
            below = work.across[-(-y // zoom) - upper]
            phase = np.float32(y % zoom) / np.float32(zoom)
            rest = _ONE - phase
            row, highest = work.exponentials[c, y - first], work.highest[y - first]
            if c == 0:
                for x in range(used):
                    highest[x] = -np.inf
            for x in range(used):
                score = rest * above[x] + phase * below[x]
                row[x] = score
                highest[x] = max(highest[x], score)


@compiled
def _exponentiate(rows: int, used: np.int64, work: _Work) -> None:
    """Scores to exponentials, and one over their sum."""
    for y in range(rows):
        highest, total = work.highest[y], work.share[y]
        for x in range(used):
            total[x] = _ZERO
        for c in range(len(work.exponentials)):
            row = work.exponentials[c, y]
            for x in range(used):
                row[x] = _exponential(row[x] - highest[x])
                total[x] += row[x]
        for x in range(used):
            total[x] = _ONE / total[x]


@compiled
def _exponential(x: np.float32) -> np.float32:
    """exp(x) for x <= 0, off by less than 2 u; below -87 as at -87, which is less than 2^-125."""
    x = max(x, _LOWEST)
    shifted = np.float32(x * _LOG2_E + _SHIFT)
    whole = shifted - _SHIFT
    r = x - whole * _LN2_HIGH
    r = r - whole * _LN2_LOW
    series = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    power = np.int32(np.int32(shifted.view(np.int32) << _MANTISSA_BITS) + _EXPONENT_BIAS)
    return (series * (r * r) + r + _ONE) * power.view(np.float32)


@compiled
def _compare(rows: Axis, tile: int, strip: _Strip, used: np.int64, work: _Work, code_mask: np.int32) -> None:
    """Resize the probabilities, and keep the two largest of every output.

    Positive floats compare as their bits do. With the class in the lowest bits, the comparison carries the class along.
    """
    begin, end, top = rows.tiles[tile], rows.tiles[tile + 1], rows.sources[tile, 0]
    layers, taps, _ = strip.weights.shape
    for r in range(begin, end):
        for k in range(len(rows.weights)):
            weight, share = rows.weights[k, r], work.share[rows.first[r] - top + k]
            row_weight = work.row_weights[r - begin, k]
            for x in range(used):
                row_weight[x] = weight * share[x]
        for layer in range(layers):
            best, second = work.best[r - begin, layer], work.second[r - begin, layer]
            for x in range(used):
                best[x] = second[x] = 0
    row, value, keep = work.row, work.value, np.int32(~code_mask)
    bits = value.view(np.int32)
    for c in range(len(work.exponentials)):
        code = np.int32(code_mask - c)
        for r in range(begin, end):
            for k in range(len(rows.weights)):
                weights, source = work.row_weights[r - begin, k], work.exponentials[c, rows.first[r] - top + k]
                for x in range(used):
                    row[x] = weights[x] * source[x] + (row[x] if k else _ZERO)
            for layer in range(layers):
                for k in range(taps):
                    weights = strip.weights[layer, k]
                    for x in range(used):
                        value[x] = weights[x] * row[x + k] + (value[x] if k else _ZERO)
                best, second = work.best[r - begin, layer], work.second[r - begin, layer]
                for x in range(used):
                    candidate = np.int32(np.int32(bits[x] & keep) | code)
                    before = best[x]
                    loser = before if before < candidate else candidate
                    second[x] = loser if loser > second[x] else second[x]
                    best[x] = before if before > candidate else candidate


@compiled
def _write(
    rows: Axis,
    tile: int,
    strip: _Strip,
    used: np.int64,
    work: _Work,
    code_mask: np.int32,
    doubt: np.float32,
    labels: Bytes,
    uncertain: Indices,
    count: np.int64,
) -> np.int64:
    """Write the labels of a strip; returns ``count`` plus the number of uncertain ones."""
    first, width = rows.tiles[tile], labels.shape[1]
    for r in range(first, rows.tiles[tile + 1]):
        for layer in range(len(strip.column)):
            columns, bits = strip.column[layer], work.best[r - first, layer]
            best, second = bits.view(np.float32), work.second[r - first, layer].view(np.float32)
            for x in range(used):
                if columns[x] < 0:
                    continue
                labels[r, columns[x]] = code_mask - (bits[x] & code_mask)
                if best[x] - second[x] <= doubt:
                    if count < len(uncertain):
                        uncertain[count] = r * width + columns[x]
                    count += 1
    return count
