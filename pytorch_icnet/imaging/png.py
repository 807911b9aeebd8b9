"""The little of PNG that OpenCV cannot do: indexed images, written and read as indices.

Reference: Portable Network Graphics (PNG) Specification, W3C.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..arrays import Bytes

SIGNATURE = b"\x89PNG\r\n\x1a\n"

GRAY, RGB, INDEXED, GRAY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
"""Colour types."""

_DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), INDEXED: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}


class PngHeader(NamedTuple):
    width: int
    height: int
    bit_depth: int
    colour_type: int


def read_header(data: bytes) -> PngHeader:
    """The header of a PNG file.

    Raises:
        ValueError: the data does not begin with a valid PNG header.
    """
    if len(data) < 33 or data[:8] != SIGNATURE or data[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("does not begin with a PNG header")
    header = PngHeader(*struct.unpack(">IIBB", data[16:26]))
    if not (0 < header.width < 1 << 31 and 0 < header.height < 1 << 31):
        raise ValueError(f"a PNG header of impossible size {header.width}x{header.height}")
    if header.bit_depth not in _DEPTHS.get(header.colour_type, ()):
        raise ValueError(f"a PNG of unknown kind (colour type {header.colour_type}, {header.bit_depth} bits)")
    return header


def check_whole(data: bytes) -> None:
    """Walk over all chunks of a PNG file.

    Raises:
        ValueError: a chunk is cut off or damaged, or the end is missing.
    """
    for _ in _chunks(data):
        pass


def indexed_as_gray(data: bytes) -> bytes:
    """An indexed PNG as the gray PNG of the same samples, which any decoder reads without applying the palette.

    With fewer than 8 bits a decoder stretches gray to 0..255: sample s of b bits becomes s * 255 // (2**b - 1).
    """
    kept = []
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            body = body[:9] + bytes([GRAY]) + body[10:]
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append((kind, body))
    return assemble(kept)


def encode(labels: Bytes, palette: Bytes | None = None) -> bytes:
    """An 8-bit PNG of ``labels`` (uint8 HxW): gray, or indexed when a palette (uint8 256x3, RGB) is given."""
    height, width = labels.shape
    if labels.dtype != np.uint8:
        raise TypeError(f"8-bit PNG files hold uint8, not {labels.dtype}")
    rows = np.zeros((height, width + 1), np.uint8)  # a zero before each row: no filter, the best one for label maps
    rows[:, 1:] = labels
    colour_type = GRAY if palette is None else INDEXED
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
    return assemble([*chunks, (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")])


def assemble(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of chunks, each a kind and a body."""
    packed = [SIGNATURE]
    for kind, body in chunks:
        packed += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(packed)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while True:
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            raise ValueError("the PNG file is cut off")
        kind, body = data[position + 4 : position + 8], data[position + 8 : end - 4]
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            raise ValueError("the PNG file is damaged (a checksum is wrong)")
        yield kind, body
        if kind == b"IEND":
            return
        position = end
