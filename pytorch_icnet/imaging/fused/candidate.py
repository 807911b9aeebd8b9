"""A label map but for the pixels that the certificates of :mod:`.tiles` leave to the plain implementation."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ...arrays import Bytes, Indices
from .. import plain
from ..imresize import Plan


class Candidate(NamedTuple):
    """A label map that is not quite done."""

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
