"""The label map in torch's own operations, on any device: where numba or Triton is missing, or where the geometry is
not for Triton's implementation.

A few rows of tiles at a time, and of these only the columns that hold a tile without a certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...arrays import Floats, Indices
from .tiles import MARGIN, RELATIVE, Axis, Candidate, Tiling, may_list

_CACHED = 1 << 19
"""Probabilities in work at once on a processor: 2 MB, about what its second-level cache holds."""

_BUSY = 1 << 22
"""And on a GPU, which wants larger pieces."""


def candidate(scores: torch.Tensor, geometry: Tiling) -> Candidate | None:
    """The label map of scores, float32 C x corner rows x corner columns; None if one is not finite."""
    if not bool(scores.isfinite().all()):
        return None
    rows, columns = geometry.rows, geometry.columns
    tops = _tile_tops(_clear_tops(scores), rows, columns)
    labels = _enlarge(tops, rows, columns)
    uncertain = (tops < 0).cpu().numpy()
    listed, dense_rows = [np.empty(0, np.int64)], []
    for start, stop in _blocks(geometry, len(scores), _CACHED if scores.device.type == "cpu" else _BUSY):
        chosen = np.asarray(uncertain[start:stop].any(axis=0))
        if not chosen.any():
            continue
        first, last = int(rows.tiles[start]), int(rows.tiles[stop])
        doubts = _label_block(scores, geometry, start, stop, chosen, labels).cpu().numpy()
        if len(doubts) > may_list((last - first) * geometry.size[1]):
            dense_rows.append((first, last))
        else:
            listed.append(doubts)
    return Candidate(labels.cpu().numpy(), np.concatenate(listed), tuple(dense_rows))


def _clear_tops(scores: torch.Tensor) -> torch.Tensor:
    """The best class of every clear corner, -1 elsewhere."""
    best, second, top = _two_best(scores)
    clear = best - second > float(MARGIN) + float(RELATIVE) * best.abs()
    return torch.where(clear, top, -1)


def _two_best(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The largest value along the first axis, the second largest, and the place of the largest."""
    best, place = values.max(dim=0)
    return best, values.scatter(0, place[None], -torch.inf).amax(dim=0), place


def _tile_tops(tops: torch.Tensor, rows: Axis, columns: Axis) -> torch.Tensor:
    """The class that all corners of a tile agree on, -1 where they do not; tile rows x tile columns."""
    reach = [range(int(np.ptp(axis.corners, axis=1).max()) + 1) for axis in (rows, columns)]
    agreed = None
    for down, right in product(*reach):
        y = np.minimum(rows.corners[:, 0] + down, rows.corners[:, 1])
        x = np.minimum(columns.corners[:, 0] + right, columns.corners[:, 1])
        corner = tops[_index(y, tops)][:, _index(x, tops)]
        agreed = corner if agreed is None else torch.where(agreed == corner, agreed, -1)
    assert agreed is not None
    return agreed


def _enlarge(tops: torch.Tensor, rows: Axis, columns: Axis) -> torch.Tensor:
    """The label map, right wherever the tile has a class."""
    y, x = (np.repeat(np.arange(len(axis.corners)), np.diff(axis.tiles)) for axis in (rows, columns))
    return tops.clamp(min=0).to(torch.uint8)[_index(y, tops)][:, _index(x, tops)]


def _blocks(geometry: Tiling, classes: int, samples: int) -> Iterator[tuple[int, int]]:
    """Rows [start, stop) of tiles that together have about so many probabilities, at least one."""
    rows, columns = geometry.rows, geometry.columns
    height = samples // (classes * (int(columns.sources[-1, 1]) + 1))
    start = 0
    while start < len(rows.corners):
        within = np.searchsorted(rows.sources[:, 1], rows.sources[start, 0] + height)
        stop = min(max(int(within), start + 1), len(rows.corners))
        yield start, stop
        start = stop


def _label_block(
    scores: torch.Tensor, geometry: Tiling, start: int, stop: int, chosen: npt.NDArray[np.bool_], labels: torch.Tensor
) -> torch.Tensor:
    """Label the chosen columns of the rows [start, stop) of tiles; returns the uncertain pixels' flat indices."""
    rows, columns, zoom, _ = geometry
    y = np.arange(rows.sources[start, 0], rows.sources[stop - 1, 1] + 1)
    x = _within(columns.sources[chosen, 0], columns.sources[chosen, 1] + 1)
    down = np.arange(rows.tiles[start], rows.tiles[stop])
    right = _within(columns.tiles[:-1][chosen], columns.tiles[1:][chosen])

    upper = int(y[0]) // zoom
    across = _interp(scores[:, upper : -(-int(y[-1]) // zoom) + 1], x, zoom, 2)
    values = _interp(across, y - zoom * upper, zoom, 1)
    values = values.sub_(values.amax(dim=0)).exp_()
    values *= 1 / values.sum(dim=0)
    values = _resample(values, rows.weights[:, down], rows.first[down] - y[0], 1)
    values = _resample(values, columns.weights[:, right], np.searchsorted(x, columns.first[right]), 2)

    best, second, label = _two_best(values)
    labels[down[0] : down[-1] + 1, _index(right, labels)] = label.to(torch.uint8)
    row, column = (best - second <= geometry.doubt(len(scores))).nonzero(as_tuple=True)
    uncertain: torch.Tensor = (row + int(down[0])) * labels.shape[1] + _index(right, labels)[column]
    return uncertain


def _within(starts: npt.NDArray[Any], stops: npt.NDArray[Any]) -> Indices:
    """The whole numbers in any of the ranges [start, stop), each once, in order."""
    depth = np.zeros(int(stops.max()) + 1, np.int64)
    np.add.at(depth, starts, 1)
    np.add.at(depth, stops, -1)
    return depth.cumsum().nonzero()[0]


def _interp(scores: torch.Tensor, places: Indices, zoom: int, axis: int) -> torch.Tensor:
    """Interp along one axis, at some places, with the operands in the order of the plain implementation."""
    phase = torch.from_numpy(((places % zoom) / zoom).astype(np.float32)).to(scores.device)
    phase = phase[:, None] if axis == 1 else phase
    before = scores.index_select(axis, _index(places // zoom, scores))
    after = scores.index_select(axis, _index(-(-places // zoom), scores))
    return (1 - phase) * before + phase * after


def _resample(values: torch.Tensor, weights: Floats, first: npt.NDArray[Any], axis: int) -> torch.Tensor:
    """The weighted sums of ``values`` from the places ``first`` on; weights: (taps, outputs)."""
    shape = (-1, 1) if axis == 1 else (-1,)
    factors = torch.from_numpy(weights).to(values.device)
    total = values.index_select(axis, _index(first, values)) * factors[0].reshape(shape)
    for k in range(1, len(factors)):
        total += values.index_select(axis, _index(first + k, values)) * factors[k].reshape(shape)
    return total


def _index(places: npt.NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(places, np.int64)).to(like.device)
