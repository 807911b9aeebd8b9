"""The confusion matrix as a picture: inline SVG, whose cells are one small PNG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..protocols import Result
from .pictures import data_uri

_LEGIBLE = 32
"""Up to so many classes, cells carry their numbers."""

_SCALE = np.array([(247, 250, 253), (158, 202, 225), (49, 130, 189), (8, 48, 107)], np.float64)
"""Colours of 0, a third, two thirds and all."""


@dataclass(frozen=True)
class Cell:
    """A cell that carries a number or a hint."""

    row: int
    column: int
    percent: float
    """Of the row's label."""
    pixels: int

    @property
    def dark(self) -> bool:
        """Whether the text on it must be light."""
        return self.percent > 45


@dataclass(frozen=True)
class ConfusionPicture:
    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    """Those worth a number: none for more classes than can be read."""
    png: str
    """Data URI, one pixel per cell."""

    @property
    def size(self) -> int:
        return len(self.names)


def picture(result: Result) -> ConfusionPicture:
    """The confusion of a result, each row in shares of its label."""
    shares = row_shares(result.confusion)
    legible = len(result.classes.rows) <= _LEGIBLE
    cells = tuple(
        Cell(int(row), int(column), 100 * float(shares[row, column]), int(result.confusion[row, column]))
        for row, column in (np.argwhere(result.confusion) if legible else ())
    )
    encoded = cv2.imencode(".png", colours(shares)[..., ::-1])[1].tobytes()
    return ConfusionPicture(result.classes.rows, cells, data_uri("image/png", encoded))


def row_shares(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Each row over its sum, 0 to 1; zeros for a row without pixels."""
    totals = confusion.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0))


def colours(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Shares, 0 to 1, as uint8 ...x3 in red, green, blue."""
    places = np.linspace(0, 1, len(_SCALE))
    channels = [np.interp(shares, places, _SCALE[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
