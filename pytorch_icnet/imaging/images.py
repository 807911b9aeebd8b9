"""Reading images and label maps, writing label maps.

What an image becomes: gray is replicated to three channels, a palette is applied, alpha is dropped (not
blended), of 16 bits the upper 8 are kept, colour profiles and gamma are ignored. Label maps are read as
they are: an indexed PNG gives its indices, never its colours.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from icnet_common.files import atomic_write

from ..arrays import Bytes, Ints, Size
from . import png

MAX_PIXELS = 1 << 27
"""Images with more pixels (134 million) are refused before they are decoded."""

_MAX_BYTES = 1 << 30

PathLike = str | os.PathLike[str]


class ImageError(InputError):
    """An image that is damaged, too large or of the wrong kind; the message begins with the file's name."""


class UnknownFormat(ImageError):
    """Something that is neither a PNG nor a JPEG image."""


class TooManyPixels(ImageError):
    """An image of more pixels than are allowed."""


class NotALabelMap(ImageError):
    """An image with colours where one channel of class indices was expected."""


class _Image(NamedTuple):
    data: bytes
    width: int
    height: int
    png: png.PngHeader | None

    @property
    def size(self) -> Size:
        return self.height, self.width


def read_image(path: PathLike, *, upright: bool = False) -> Bytes:
    """A PNG or JPEG file of any kind as RGB, uint8 HxWx3.

    Args:
        path: the file.
        upright: turn photographs as their EXIF orientation says. Off by default, because label maps and the
            official evaluation know only the stored orientation.

    Raises:
        ImageError: not a whole PNG or JPEG file, or more than MAX_PIXELS.
        OSError: the file cannot be read.
    """
    return _decode_colours(_open(Path(path)), path, upright)


def decode_image(data: bytes, name: PathLike, *, upright: bool = False, max_pixels: int = MAX_PIXELS) -> Bytes:
    """The content of a PNG or JPEG file as RGB, uint8 HxWx3; otherwise as :func:`read_image`. ``name`` is for messages.

    Raises:
        UnknownFormat: neither of them.
        TooManyPixels: more than ``max_pixels``; nothing is decoded then.
        ImageError: not whole, or damaged.
    """
    return _decode_colours(_image_of(data, name, max_pixels), name, upright)


def check_image(data: bytes, name: PathLike, *, max_pixels: int = MAX_PIXELS) -> Size:
    """Height and width from the header in a file's content; raises what :func:`decode_image` finds without decoding."""
    return _image_of(data, name, max_pixels).size


def _decode_colours(image: _Image, name: PathLike, upright: bool) -> Bytes:
    mode = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = _decode(name, image.data, mode)
    if sorted(decoded.shape[:2]) != sorted(image.size):
        raise ImageError(f"{name}: the decoded image is not of the size in its header")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_label_map(path: PathLike) -> Bytes:
    """A label map, uint8 HxW, from a gray or indexed PNG file of up to 8 bits.

    Raises:
        NotALabelMap: the file holds colours.
        ImageError: not a whole PNG file, 16 bits, or more than MAX_PIXELS.
        OSError: the file cannot be read.
    """
    path = Path(path)
    image = _open(path)
    header = image.png
    if header is None:
        raise ImageError(f"{path}: a label map must be a PNG file; JPEG changes the values")
    if header.colour_type in (png.RGB, png.RGB_ALPHA):
        raise NotALabelMap(f"{path}: an image with colours; expected one channel of class indices (trainIds)")
    if header.bit_depth == 16:
        raise ImageError(f"{path}: 16 bits per pixel; a label map has 8")
    if header.colour_type != png.INDEXED:
        return _decode(path, image.data, cv2.IMREAD_GRAYSCALE)
    stretched = _decode(path, png.indexed_as_gray(image.data), cv2.IMREAD_GRAYSCALE)
    return stretched // np.uint8(255 // ((1 << header.bit_depth) - 1))


def read_ids(path: PathLike) -> Ints:
    """Ids of 8 or 16 bits, int32 HxW, from a gray or indexed PNG file, as Cityscapes stores ids of instances.

    Raises:
        NotALabelMap: the file holds colours.
        ImageError: not a whole PNG file, or more than MAX_PIXELS.
        OSError: the file cannot be read.
    """
    path = Path(path)
    image = _open(path)
    if image.png is None or image.png.bit_depth != 16 or image.png.colour_type != png.GRAY:
        return read_label_map(path).astype(np.int32)
    return _decode(path, image.data, cv2.IMREAD_UNCHANGED).astype(np.int32)


def image_size(path: PathLike) -> Size:
    """Height and width from the header, after the same checks as :func:`read_image`, without decoding."""
    return _open(Path(path)).size


def write_label_map(path: PathLike, labels: Bytes, palette: Bytes | None = None) -> None:
    """Write a label map (uint8 HxW) as an 8-bit PNG file, whole or not at all: gray, or indexed with a palette (uint8
    256x3, RGB)."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(png.encode(labels, palette))


def _open(path: Path) -> _Image:
    """A file's bytes and size, once it is known to be whole and of a bearable size."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: not a file")
    if status.st_size > _MAX_BYTES:
        raise ImageError(f"{path}: {status.st_size} bytes are too many for an image")
    return _image_of(path.read_bytes(), path, MAX_PIXELS)


def _image_of(data: bytes, name: PathLike, max_pixels: int) -> _Image:
    if not data.startswith((png.SIGNATURE, b"\xff\xd8")):
        raise UnknownFormat(f"{name}: {'neither a PNG nor a JPEG image' if data else 'the file is empty'}")
    try:
        if data.startswith(png.SIGNATURE):
            header = png.read_header(data)
            png.check_whole(data)
            image = _Image(data, header.width, header.height, header)
        else:
            image = _Image(data, *_jpeg_size(data), None)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"{name}: {image.width}x{image.height} pixels are more than the {max_pixels} allowed")
    return image


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from a JPEG's frame header (ITU-T T.81, B.2.2).

    Raises:
        ValueError: there is none, or the image data is cut off.
    """
    position = 2
    size: tuple[int, int] | None = None
    while position + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == 0xFFFF:  # fill byte
            position += 1
            continue
        if marker >> 8 != 0xFF or length < 2:
            raise ValueError("the JPEG file is damaged")
        frame = 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)
        if frame and position + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = width, height
        position += 2 + length
        if marker == 0xFFDA:  # start of scan
            break
    if size is None or 0 in size:
        raise ValueError("the JPEG file has no usable frame header")
    if data.find(b"\xff\xd9", position) < 0:
        raise ValueError("the JPEG file is cut off")
    return size


def _decode(path: PathLike, data: bytes, mode: int) -> npt.NDArray[Any]:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded ({error.err})") from error
    if decoded is None:
        raise ImageError(f"{path}: cannot be decoded; the file is damaged")
    return decoded
