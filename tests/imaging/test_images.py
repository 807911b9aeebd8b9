"""Images of every kind are read as documented, label maps survive, and damaged files end in one line."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pytorch_icnet.datasets.classes import CITYSCAPES, PALETTE, class_names, voc_colours
from pytorch_icnet.imaging import png
from pytorch_icnet.imaging.images import (
    MAX_PIXELS,
    ImageError,
    NotALabelMap,
    image_size,
    read_image,
    read_label_map,
    write_label_map,
)

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(0)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(
    samples: Array, colour_type: int, bits: int = 8, extra: bytes = b"", size: tuple[int, int] | None = None
) -> bytes:
    """A PNG file of HxW or HxWxC samples of ``bits`` bits."""
    height, width = size or samples.shape[:2]
    rows = samples.reshape(samples.shape[0], -1)
    raw = b""
    for row in rows.tolist():
        text = "".join(format(sample, f"0{bits}b") for sample in row)
        text += "0" * (-len(text) % 8)
        raw += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return png.SIGNATURE + header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.png"


RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_rgb(path: Path) -> None:
    path.write_bytes(png_file(RGB, png.RGB))
    assert np.array_equal(read_image(path), RGB)
    assert image_size(path) == (5, 7)


def test_gray_is_replicated(path: Path) -> None:
    path.write_bytes(png_file(GRAY, png.GRAY))
    assert np.array_equal(read_image(path), np.repeat(GRAY[..., None], 3, axis=2))


def test_alpha_is_dropped_not_blended(path: Path) -> None:
    alpha = RANDOM.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    background = chunk(b"bKGD", bytes(6))
    path.write_bytes(png_file(np.concatenate([RGB, alpha], axis=2), png.RGB_ALPHA, extra=background))
    assert np.array_equal(read_image(path), RGB)
    path.write_bytes(png_file(np.stack([GRAY, GRAY[::-1]], axis=2), png.GRAY_ALPHA))
    assert np.array_equal(read_image(path), np.repeat(GRAY[..., None], 3, axis=2))
    assert np.array_equal(read_label_map(path), GRAY)


@pytest.mark.parametrize("colour_type", [png.GRAY, png.RGB])
def test_of_16_bits_the_upper_8_are_kept(path: Path, colour_type: int) -> None:
    channels = 3 if colour_type == png.RGB else 1
    samples = RANDOM.integers(0, 1 << 16, (9, 11, channels))
    path.write_bytes(png_file(samples, colour_type, bits=16))
    assert np.array_equal(read_image(path), np.broadcast_to(samples >> 8, (9, 11, 3)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_indexed(path: Path, bits: int) -> None:
    colours = RANDOM.integers(0, 256, (1 << bits, 3), dtype=np.uint8)
    indices = RANDOM.integers(0, 1 << bits, (13, 11), dtype=np.uint8)
    extra = chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", bytes(1))
    path.write_bytes(png_file(indices, png.INDEXED, bits, extra))
    assert np.array_equal(read_image(path), colours[indices])
    assert np.array_equal(read_label_map(path), indices)


def test_gray_label_map(path: Path) -> None:
    path.write_bytes(png_file(GRAY, png.GRAY, extra=chunk(b"tRNS", b"\0\x07")))
    assert np.array_equal(read_label_map(path), GRAY)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (33, 130)])
def test_written_label_maps_come_back(tmp_path: Path, shape: tuple[int, int]) -> None:
    labels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    gray, colour = tmp_path / "gray" / "a.png", tmp_path / "color" / "a.png"
    write_label_map(gray, labels)
    write_label_map(colour, labels, PALETTE)
    assert png.read_header(gray.read_bytes()) == (shape[1], shape[0], 8, png.GRAY)
    assert png.read_header(colour.read_bytes()) == (shape[1], shape[0], 8, png.INDEXED)
    assert np.array_equal(read_label_map(gray), labels)
    assert np.array_equal(read_label_map(colour), labels)
    assert np.array_equal(read_image(colour), PALETTE[labels])
    assert np.array_equal(np.asarray(cv2.imread(str(gray), cv2.IMREAD_UNCHANGED)), labels)
    assert sorted(tmp_path.rglob("*.*")) == [colour, gray]


def test_label_maps_of_another_dtype_are_refused(path: Path) -> None:
    with pytest.raises(TypeError):
        write_label_map(path, np.zeros((2, 2), np.int64))
    assert not path.exists()


def test_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    smooth = cv2.resize(RGB, (64, 48))
    cv2.imwrite(str(path), smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    assert image_size(path) == (48, 64)
    assert np.abs(read_image(path).astype(int) - smooth).max() < 30
    with pytest.raises(ImageError, match="must be a PNG"):
        read_label_map(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


def test_orientation(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    data: bytes = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert read_image(path).shape == (8, 16, 3)
    assert read_image(path, upright=True).shape == (16, 8, 3)


def test_colours_are_no_label_map(path: Path) -> None:
    path.write_bytes(png_file(RGB, png.RGB))
    with pytest.raises(NotALabelMap, match="expected one channel"):
        read_label_map(path)


def test_16_bits_are_no_label_map(path: Path) -> None:
    path.write_bytes(png_file(GRAY.astype(int), png.GRAY, bits=16))
    with pytest.raises(ImageError, match="16 bits"):
        read_label_map(path)


WHOLE = png_file(GRAY, png.GRAY)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", "neither a PNG nor a JPEG"),
        (WHOLE[:20], "does not begin with a PNG header"),
        (WHOLE[:60], "cut off"),
        (WHOLE[:-12], "cut off"),
        (WHOLE[:50] + bytes([WHOLE[50] ^ 1]) + WHOLE[51:], "a checksum is wrong"),
        (png_file(GRAY, png.GRAY, size=(17, 16)), "cannot be decoded"),
        (png_file(GRAY, 5), "unknown kind"),
        (png_file(GRAY, png.GRAY, size=(0, 16)), "impossible size"),
        (png_file(GRAY, png.INDEXED), "cannot be decoded"),
        (b"\xff\xd8\xff\xd9", "no usable frame header"),
        (b"\xff\xd8\xff\xe0\0\0", "damaged"),
    ],
)
def test_damaged_files(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("size", [(1 << 20, 1 << 20), (1, MAX_PIXELS + 1)])
def test_bombs_are_refused_before_decoding(path: Path, size: tuple[int, int]) -> None:
    path.write_bytes(png_file(GRAY, png.GRAY, size=size))
    for reader in (read_image, read_label_map, image_size):
        with pytest.raises(ImageError, match="are more than"):
            reader(path)


def test_only_regular_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path / "pipe.png")


def test_palette() -> None:
    assert PALETTE.shape == (256, 3)
    assert PALETTE.dtype == np.uint8
    assert PALETTE[:3].tolist() == [[128, 64, 128], [244, 35, 232], [70, 70, 70]]
    assert PALETTE[18].tolist() == [119, 11, 32]
    # Of PASCAL VOC's classes: background, aeroplane, person, tv/monitor.
    assert voc_colours()[[0, 1, 15, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [0, 64, 128]]
    assert PALETTE[[19, 20, 254]].tolist() == [[128, 192, 0], [0, 64, 128], [96, 224, 192]]
    assert PALETTE[255].tolist() == [0, 0, 0]
    assert len({item.colour for item in CITYSCAPES}) == len({item.label_id for item in CITYSCAPES}) == 19


def test_class_names() -> None:
    assert class_names(19)[10] == "sky"
    assert class_names(2) == ("class 0", "class 1")
