"""Which scores decide which pixels of the label map, and when they do so without being evaluated.

Three lengths meet here: *corners* are the scores as the net gives them, *sources* are Interp's samples at the
net's full size, *outputs* are the label map's pixels. A tile is a rectangle of outputs that begin in the same
cell of corners. u = 2^-24 is float32's unit roundoff; all scores are finite (others take the plain implementation).

**The tiles' certificate.** A corner is clear if its best score s_k exceeds every other by more than
MARGIN + RELATIVE |s_k|. Where all corners of a tile are clear and have the same best class k, every pixel of the
tile has the label k in the plain implementation:

1. An output is a sum of sources with weights that are not negative (a triangle's); those with weight zero add
   nothing, since probabilities are finite. A source is made of the corners on both sides of it, or of one corner
   where it coincides with it. ``Axis.corners`` holds, for every tile, all corners behind all of its non-zero
   weights, so that nothing else can touch it.
2. Interp is a mean with weights w and four roundings, so it is off by at most 4.01 u * sum(w |s|). For another
   class j let g = s_k - s_j >= MARGIN + 16 u |s_k|, hence |s_j| <= |s_k| + g. Then the two interpolated scores
   differ by at least sum(w (g (1 - 4.01 u) - 8.02 u |s_k|)) >= MARGIN (1 - 5 u) > 0, as computed.
3. So k is the maximum that softmax subtracts, its exponential is that of 0, and every other one's is that of
   -MARGIN (1 - 6 u) or less: smaller by a factor below 1 - 2^-11 even if both are wrong by 8 u. The same total
   divides both, the same weights multiply both, and the roundings (one in the division, one after each pass; the
   double sums are exact to 2^-50) together are below 8 u. So k's probability is the greater one, strictly.

The margin is ample: 2^-10 where about 2^-19 would do.

**The pixels' certificate.** A pixel that is evaluated gets probabilities P' in float32, not with MATLAB's two
roundings but with fewer operations. With exponentials wrong by at most 8 u on both sides, P' differs from the plain
form's P by at most E = (44 + 2 C + row taps + column taps) u:

- the scores and the maximum are the same bits, so the exponentials differ by 16 u, and so does their total, where
  the order of adding C numbers counts for another 2 (C - 1) u; their quotient and its two roundings, 34 u;
- the weights are rounded to float32, and a sum of positive products with n taps is off by n u at most.
- An exponential 2^(x log2 e) whose argument is rounded, as a GPU computes it, is off by (4 + |x|) u. Where that is
  more than 8 u it counts for less, for p |x| <= 1/e, and the mean of |x| over the classes is at most log C.

So where the two best P' differ by more than 2 E, the best is the plain implementation's label. Every other pixel, about
one in 50,000, is made again by the plain arithmetic (:func:`..plain.label_pixels`). The result is that of the plain
implementation, exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ...arrays import Bytes, Doubles, Floats, Indices, Ints, Size
from .. import plain
from ..imresize import Plan, Taps, plan

MARGIN = np.float32(2**-10)
RELATIVE = np.float32(2**-20)


class Axis(NamedTuple):
    """One axis of the label map. (A named tuple of arrays, which numba's functions take as it is.)"""

    first: Ints
    """(outputs,): the first source that an output is made of."""
    weights: Floats
    """(taps, outputs): the weights of the sources from there on."""
    layer: Ints
    """(outputs,): how many outputs before this one have the same ``first``."""
    tiles: Ints
    """(tiles + 1,): the outputs [tiles[i], tiles[i + 1]) are tile i."""
    corners: Ints
    """(tiles, 2): the first and the last corner that a tile depends on."""
    sources: Ints
    """(tiles, 2): the first and the last source that is read for a tile, zero weights included."""


class Tiling(NamedTuple):
    """The geometry of a label map."""

    rows: Axis
    columns: Axis
    zoom: int
    """Sources per corner."""
    full_size: Size
    """Height and width of the sources."""

    @property
    def size(self) -> Size:
        """Height and width of the label map."""
        return len(self.rows.first), len(self.columns.first)

    def doubt(self, classes: int) -> float:
        """The difference 2 E of two probabilities up to which the plain implementation has to decide."""
        taps = len(self.rows.weights) + len(self.columns.weights)
        return (44 + 2 * classes + taps) * 2**-23


@lru_cache(maxsize=16)
def tiling(full_size: Size, size: Size, zoom: int) -> Tiling:
    """The tiles for scores that Interp enlarges by ``zoom`` to ``full_size``, resized from there to ``size``."""
    planned = plan(full_size, size)
    return Tiling(axis(planned.rows, full_size[0], zoom), axis(planned.columns, full_size[1], zoom), zoom, full_size)


def axis(taps: Taps, length: int, zoom: int) -> Axis:
    """One axis, from imresize's taps over ``length`` sources."""
    outputs = len(taps.indices)
    used = taps.weights != 0
    lowest = np.where(used, taps.indices, length).min(axis=1)
    highest = np.where(used, taps.indices, -1).max(axis=1)
    count = int((highest - lowest).max()) + 1
    first = np.minimum(lowest, length - count)
    weights = np.zeros((count, outputs))
    # A mirrored border reads a source twice: its weights are added.
    np.add.at(weights, ((taps.indices - first[:, None])[used], used.nonzero()[0]), taps.weights[used])

    cell = lowest // zoom
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    last_corner = np.maximum.reduceat(-(-highest // zoom), starts)
    first_source = np.minimum.reduceat(first, starts)
    last_source = np.maximum.reduceat(first + count - 1, starts)
    return Axis(
        first=_ints(first),
        weights=weights.astype(np.float32),
        layer=_ints(np.arange(outputs) - np.searchsorted(first, first)),
        tiles=_ints(np.append(starts, outputs)),
        corners=_ints(np.stack([cell[starts], last_corner], axis=1)),
        sources=_ints(np.stack([first_source, last_source], axis=1)),
    )


def _ints(values: Indices) -> Ints:
    return np.ascontiguousarray(values, np.int32)


class Candidate(NamedTuple):
    """A label map but for the pixels that the certificates leave to the plain implementation."""

    labels: Bytes
    """HxW."""
    uncertain: Indices
    """Indices into the flattened label map of the pixels that the plain implementation has to decide."""
    dense_rows: tuple[tuple[int, int], ...] = ()
    """Rows [start, stop) with so many such pixels that they are not listed."""

    def finish(self, planes: torch.Tensor, zoom: int, planned: Plan) -> Bytes:
        """The label map; arguments as for :func:`..plain.label_rows`."""
        self.labels.reshape(-1)[self.uncertain] = plain.label_pixels(planes, zoom, planned, self.uncertain)
        for start, stop in self.dense_rows:
            self.labels[start:stop] = plain.label_rows(planes, zoom, planned, start, stop)
        return self.labels


def may_list(pixels: int) -> int:
    """How many of so many pixels are listed at most; beyond that, whole rows cost the plain implementation less."""
    return pixels // 64 + 64


class TapRows(NamedTuple):
    """One axis of a resize, packed for kernels, without the taps whose weight is zero: they add nothing to bytes."""

    indices: Ints
    """(taps, outputs), in imresize's order."""
    weights: Doubles
    """(taps, outputs); 0 where an output has fewer taps than others."""


def tap_rows(taps: Taps) -> TapRows:
    """The non-zero taps of an axis."""
    zero = taps.weights == 0
    order = np.argsort(zero, axis=1, kind="stable")[:, : int((~zero).sum(axis=1).max())]
    indices, weights = (np.take_along_axis(part, order, axis=1).T for part in (taps.indices, taps.weights))
    return TapRows(np.ascontiguousarray(indices, np.int32), np.ascontiguousarray(weights))
