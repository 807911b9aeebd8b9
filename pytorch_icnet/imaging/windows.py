"""Windows that slide over an image, and the mean of what is computed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from icnet_common.errors import InputError

from ..arrays import Floats, Size

OVERLAP = 1 / 3
"""Of neighbouring windows, as in mmsegmentation's configurations."""


@dataclass(frozen=True)
class Grid:
    """Where the windows are. All have one size; those at the right and lower border are moved back into the image."""

    image: Size
    window: Size
    """At most the image's size."""
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def over(cls, image: Size, window: Size, overlap: float | tuple[int, int] = OVERLAP) -> Grid:
        """Windows that cover an image.

        Args:
            image: its height and width.
            window: height and width; what reaches beyond the image is cut off.
            overlap: of neighbours, at least: a fraction of the window, or (rows, columns) in pixels.

        Raises:
            InputError: an empty window, or an overlap that is negative or not below the window.
        """
        if min(window) < 1:
            raise InputError(f"a window of {window[0]}x{window[1]}; height and width are at least 1")
        in_pixels = isinstance(overlap, tuple)
        shares = overlap if isinstance(overlap, tuple) else (overlap, overlap)
        if not all(0 <= share < (length if in_pixels else 1) for share, length in zip(shares, window, strict=True)):
            raise InputError(f"an overlap of {overlap}; expected at least 0 and less than the window")
        pixels = shares if in_pixels else [int(share * length) for share, length in zip(shares, window, strict=True)]
        height, width = (min(pair) for pair in zip(window, image, strict=True))
        tops, lefts = (
            _starts(length, cut, max(1, full - int(shared)))
            for length, cut, full, shared in zip(image, (height, width), window, pixels, strict=True)
        )
        return cls(image, (height, width), tops, lefts)


def bands(grid: Grid, classes: int, probabilities: Callable[[int, int], Floats]) -> Iterator[tuple[int, Floats]]:
    """The mean over all windows, from the top to the bottom of the image.

    Args:
        grid: the windows.
        classes: how many.
        probabilities: of the window at (top, left): classes x height x width.

    Yields:
        The first row, and the rows from there on that no later window reaches: classes x rows x image width.
    """
    height, width = grid.window
    total = np.zeros((classes, height, grid.image[1]), np.float32)
    count = np.zeros((height, grid.image[1]), np.float32)
    for top, following in zip(grid.tops, (*grid.tops[1:], grid.image[0]), strict=True):
        for left in grid.lefts:
            total[:, :, left : left + width] += probabilities(top, left)
            count[:, left : left + width] += 1
        done = following - top
        yield top, total[:, :done] / count[:done]
        for sums in (total, count):
            sums[..., : height - done, :] = sums[..., done:, :].copy()
            sums[..., height - done :, :] = 0


def _starts(length: int, window: int, stride: int) -> tuple[int, ...]:
    """Where windows begin, along one axis."""
    last = length - window
    return (*range(0, last, stride), last)
