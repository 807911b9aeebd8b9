"""The figures of annotations that have an area or a place: bitmaps, polygons, rectangles, lines and points."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from icnet_common.config import shown

from ..imaging import png

Canvas = npt.NDArray[np.uint8]
Points = npt.NDArray[np.int32]
"""Nx2: x and y."""

Mask = npt.NDArray[np.bool_]

_OVERHEAD = 1 << 16
"""Bytes that a PNG file may have besides its pixels."""
_MAX_COORDINATE = 1 << 20
_MAX_POINTS = 1 << 20


@dataclass(frozen=True)
class Box:
    """Pixels from ``left`` to ``right`` and from ``top`` to ``bottom``, both inside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top + 1

    @property
    def width(self) -> int:
        return self.right - self.left + 1

    def within(self, height: int, width: int) -> Box | None:
        """The part inside an image, or None."""
        box = Box(max(self.left, 0), max(self.top, 0), min(self.right, width - 1), min(self.bottom, height - 1))
        return box if box.height > 0 and box.width > 0 else None

    def cut(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The view of an image, HxW or HxWxC, at a box inside it."""
        return image[self.top : self.bottom + 1, self.left : self.right + 1]


class Shape(ABC):
    """A figure's place."""

    name: str
    """As ``geometryType`` and in the project's classes."""

    @property
    @abstractmethod
    def box(self) -> Box:
        """The smallest box around it, perhaps partly outside the image."""

    @abstractmethod
    def draw(self, canvas: Canvas, value: int) -> None:
        """Set its pixels, those outside the canvas excepted."""

    @abstractmethod
    def as_data(self) -> dict[str, Any]:
        """Its keys in an annotation."""


@dataclass(frozen=True, eq=False)
class Bitmap(Shape):
    left: int
    top: int
    mask: Mask

    name = "bitmap"

    @classmethod
    def of(cls, mask: Mask, left: int = 0, top: int = 0) -> Bitmap:
        """Of a mask whose first pixel is at ``left`` and ``top``, less what is empty around; ValueError if all is."""
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        if not width:
            raise ValueError("an empty mask")
        return cls(left + x, top + y, mask[y : y + height, x : x + width])

    @property
    def box(self) -> Box:
        height, width = self.mask.shape
        return Box(self.left, self.top, self.left + width - 1, self.top + height - 1)

    def draw(self, canvas: Canvas, value: int) -> None:
        inside = self.box.within(*canvas.shape)
        if inside is not None:
            box = Box(
                inside.left - self.left, inside.top - self.top, inside.right - self.left, inside.bottom - self.top
            )
            inside.cut(canvas)[box.cut(self.mask)] = value

    def as_data(self) -> dict[str, Any]:
        return {"bitmap": {"data": encode_mask(self.mask), "origin": [self.left, self.top]}}


@dataclass(frozen=True, eq=False)
class Polygon(Shape):
    """One part or several, each an exterior and its holes."""

    parts: tuple[tuple[Points, tuple[Points, ...]], ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        return "polygon" if len(self.parts) == 1 else "multipolygon"

    @property
    def box(self) -> Box:
        return _around(np.concatenate([exterior for exterior, _ in self.parts]))

    def draw(self, canvas: Canvas, value: int) -> None:
        for exterior, holes in self.parts:
            inside = _around(exterior).within(*canvas.shape)
            if inside is None:
                continue
            mask = np.zeros((inside.height, inside.width), np.uint8)
            corner = (-inside.left, -inside.top)
            cv2.fillPoly(mask, [exterior], 1, offset=corner)
            for hole in holes:
                cv2.fillPoly(mask, [hole], 0, offset=corner)
            inside.cut(canvas)[mask != 0] = value

    def as_data(self) -> dict[str, Any]:
        parts = [
            {"exterior": exterior.tolist(), "interior": [hole.tolist() for hole in holes]}
            for exterior, holes in self.parts
        ]
        return {"points": parts[0]} if len(parts) == 1 else {"parts": parts}


@dataclass(frozen=True, eq=False)
class Rectangle(Shape):
    sides: Box

    name = "rectangle"

    @property
    def box(self) -> Box:
        return self.sides

    def draw(self, canvas: Canvas, value: int) -> None:
        inside = self.box.within(*canvas.shape)
        if inside is not None:
            inside.cut(canvas)[...] = value

    def as_data(self) -> dict[str, Any]:
        box = self.box
        return {"points": {"exterior": [[box.left, box.top], [box.right, box.bottom]], "interior": []}}


@dataclass(frozen=True, eq=False)
class Polyline(Shape):
    """A line of one pixel's width; of one point, a pixel."""

    points: Points

    @property
    def name(self) -> str:  # type: ignore[override]
        return "line" if len(self.points) > 1 else "point"

    @property
    def box(self) -> Box:
        return _around(self.points)

    def draw(self, canvas: Canvas, value: int) -> None:
        cv2.polylines(canvas, [self.points], False, value)

    def as_data(self) -> dict[str, Any]:
        return {"points": {"exterior": self.points.tolist(), "interior": []}}


def shape_of(data: Mapping[str, Any], kind: str | None, max_pixels: int) -> Shape | None:
    """The shape in an object of an annotation; None where it is of a kind without pixels (graph, cuboid).

    Args:
        kind: its class's shape in the project, which old annotations lean on: ``geometryType`` wins where it is there.
        max_pixels: of a bitmap.

    Raises:
        ValueError: damaged.
    """
    kind = data.get("geometryType") or kind
    if data.get("bitmap"):
        return _bitmap(data["bitmap"], max_pixels)
    if "parts" in data:
        parts = data["parts"]
        if not isinstance(parts, list) or not parts:
            raise ValueError("`parts` that are no list")
        return Polygon(tuple(_part(part) for part in parts))
    points = data.get("points")
    if not isinstance(points, Mapping) or kind in ("graph", "cuboid"):
        return None
    if kind == "rectangle" or (kind == "any" and len(points.get("exterior") or ()) == 2):
        corners = _points(points.get("exterior"), 2, 2)
        return Rectangle(_around(corners))
    if kind in ("line", "point"):
        return Polyline(_points(points.get("exterior"), 1))
    if kind in ("polygon", "bitmap", "any", None):
        return Polygon((_part(points),))
    return None


def _part(data: Any) -> tuple[Points, tuple[Points, ...]]:
    if not isinstance(data, Mapping):
        raise ValueError(f"points that are {shown(data)}; expected `exterior` and `interior`")
    holes = data.get("interior") or []
    if not isinstance(holes, list):
        raise ValueError("an `interior` that is no list of holes")
    return _points(data.get("exterior"), 3), tuple(_points(hole, 3) for hole in holes)


def _points(data: Any, least: int, most: int = _MAX_POINTS) -> Points:
    if not isinstance(data, list) or not least <= len(data) <= most:
        raise ValueError(f"{len(data) if isinstance(data, list) else 'no'} points; expected at least {least}")
    try:
        values = np.array(data, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError("points that are no pairs of numbers") from error
    if values.shape != (len(data), 2) or not (np.abs(values) <= _MAX_COORDINATE).all():
        raise ValueError(f"points that are no pairs of numbers up to {_MAX_COORDINATE}")
    return np.rint(values).astype(np.int32)


def _bitmap(data: Any, max_pixels: int) -> Bitmap:
    if not isinstance(data, Mapping):
        raise ValueError(f"a bitmap that is {shown(data)}")
    ((left, top),) = _points([data.get("origin")], 1, 1).tolist()
    if not isinstance(data.get("data"), str):
        raise ValueError(f"a bitmap whose `data` is {shown(data.get('data'))}")
    return Bitmap(left, top, decode_mask(data["data"], max_pixels))


def _around(points: Points) -> Box:
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(left, top, right, bottom)


def decode_mask(text: str, max_pixels: int) -> Mask:
    """The mask in a bitmap's ``data``, bool HxW: base64 of zlib of a PNG image whose alpha channel, or gray, it is.

    Args:
        text: base64.
        max_pixels: a mask of more is refused before it is decoded, and so is data that unpacks to more bytes than so
            many pixels can have.

    Raises:
        ValueError: damaged, too large, or an image without a channel that could be a mask.
    """
    limit = 5 * max_pixels + _OVERHEAD  # four channels of 8 bits and a filter byte per row
    try:
        packed = base64.b64decode(text, validate=True)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, limit)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"a bitmap that cannot be unpacked ({error})") from error
    if not unpacking.eof:
        raise ValueError("a bitmap that unpacks to too much" if len(data) >= limit else "a bitmap that is cut off")
    header = png.read_header(data)
    if header.width * header.height > max_pixels:
        raise ValueError(f"a bitmap of {header.width}x{header.height}, more than the image has")
    png.check_whole(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"a bitmap that cannot be decoded ({error.err})") from error
    if image is None or image.shape[:2] != (header.height, header.width):
        raise ValueError("a bitmap that cannot be decoded")
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, 3]
    if image.ndim != 2:
        raise ValueError("a bitmap with colours and without transparency; expected an alpha channel or gray")
    return np.asarray(image != 0)


def encode_mask(mask: Mask) -> str:
    """``data`` for a mask, bool HxW, of at least one pixel."""
    height, width = mask.shape
    bits = np.packbits(mask, axis=1)
    rows = np.zeros((height, bits.shape[1] + 1), np.uint8)  # a zero before each row: no filter
    rows[:, 1:] = bits
    header = struct.pack(">IIBBBBB", width, height, 1, png.INDEXED, 0, 0, 0)
    black_and_white, transparent = bytes([0, 0, 0, 255, 255, 255]), b"\0"
    chunks = [(b"IHDR", header), (b"PLTE", black_and_white), (b"tRNS", transparent)]
    data = png.assemble([*chunks, (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")])
    return base64.b64encode(zlib.compress(data)).decode()
