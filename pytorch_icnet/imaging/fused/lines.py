"""imresize's taps, packed for kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...arrays import Doubles, Ints
from ..imresize import Taps


class TapRows(NamedTuple):
    """One axis of a resize, without the taps whose weight is zero: they add nothing to bytes."""

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
