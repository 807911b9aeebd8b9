"""Masks as Supervisely keeps them: base64 of zlib of a PNG image whose alpha channel, or gray value, is the mask."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt

from ..imaging import png

Mask = npt.NDArray[np.bool_]

_OVERHEAD = 1 << 16
"""Bytes that a PNG file may have besides its pixels."""


def decode(text: str, max_pixels: int) -> Mask:
    """The mask in a bitmap's ``data``, bool HxW.

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


def encode(mask: Mask) -> str:
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


def tight(mask: Mask) -> tuple[int, int, Mask]:
    """Left, top and the part of a mask that is not empty around. Raises ValueError: the mask is empty."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        raise ValueError("an empty mask")
    return left, top, mask[top : top + height, left : left + width]
