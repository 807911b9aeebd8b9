"""Parts of an image: a region in pixels or percent; windows that slide over it, and the mean of what they give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from icnet_common.errors import InputError

from ..arrays import Floats, Size

OVERLAP = 1 / 3
"""Of neighbouring windows, as in mmsegmentation's configurations."""

_EDGE = re.compile(r"(?P<number>\d{1,6}(\.\d{1,6})?)(?P<unit>px|%)?")


@dataclass(frozen=True)
class Edge:
    """A distance from the left or upper edge of the image."""

    number: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> Edge:
        """``120``, ``120px`` or ``12.5%``.

        Raises:
            InputError: anything else.
        """
        match = _EDGE.fullmatch(text)
        if match is None or (match["unit"] != "%" and not float(match["number"]).is_integer()):
            raise InputError(f"{text[:40]!r}: expected pixels (120 or 120px) or percent (12.5%)")
        return cls(float(match["number"]), match["unit"] == "%")

    def pixels(self, length: int) -> int:
        """In an image of this width or height, rounded to whole pixels."""
        return round(self.number * length / 100) if self.percent else int(self.number)


@dataclass(frozen=True)
class CropRegion:
    """A rectangle in images of any size."""

    left: Edge
    top: Edge
    right: Edge
    bottom: Edge

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> CropRegion:
        """Left, top, right and bottom, see :meth:`Edge.parse`; each from the left or upper edge of the image."""
        return cls(*map(Edge.parse, texts))

    def within(self, size: Size) -> tuple[slice, slice]:
        """The rows and columns in an image of a size.

        Raises:
            InputError: the region is empty, or reaches out of the image.
        """
        height, width = size
        top, bottom = self.top.pixels(height), self.bottom.pixels(height)
        left, right = self.left.pixels(width), self.right.pixels(width)
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(
                f"the region from ({left}, {top}) to ({right}, {bottom}) is empty or reaches out of the image, "
                f"which is {width} wide and {height} high"
            )
        return slice(top, bottom), slice(left, right)


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
            (*range(0, length - cut, max(1, full - int(shared))), length - cut)
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
