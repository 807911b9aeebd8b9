"""A part of the image, in pixels or percent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icnet_common.errors import InputError

from ..arrays import Size

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
