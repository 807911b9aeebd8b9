"""Videos whose frames carry their number, in blocks of black and white that survive coding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

SIZE = (64, 96)
"""Height and width: 24 blocks of 16x16."""

BLOCK = 16


def numbered(number: int, size: tuple[int, int] = SIZE) -> Bytes:
    """RGB, uint8 HxWx3: block k is white where bit k of the number is one, or else black."""
    columns = size[1] // BLOCK
    image = np.zeros((*size, 3), np.uint8)
    for bit in range(size[0] // BLOCK * columns):
        if number >> bit & 1:
            row, column = divmod(bit, columns)
            image[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK] = 255
    return image


def number_of(image: Bytes) -> int:
    """What :func:`numbered` put into an image."""
    rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK
    blocks = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3).mean((1, 3, 4))
    return sum(1 << bit for bit, bright in enumerate(blocks.ravel() > 127) if bright)


def write_clip(
    path: Path,
    count: int,
    rate: Fraction = Fraction(30000, 1001),
    *,
    stamps: Sequence[int] | None = None,
    tick: Fraction | None = None,
    size: tuple[int, int] = SIZE,
) -> Path:
    """A video of numbered frames; ``stamps``: their times in ticks, instead of the rate's."""
    tick = tick or 1 / rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p" if size[0] % 2 == 0 == size[1] % 2 else "yuv444p"
        stream.time_base = stream.codec_context.time_base = tick
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number, size), format="rgb24")
            frame.pts, frame.time_base = number if stamps is None else stamps[number], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [Fraction(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in container.decode(video=0)]


def images(path: Path) -> list[Bytes]:
    """All frames, RGB."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
