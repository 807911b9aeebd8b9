"""One scene: a street under a light, seen by a camera; and scenes as files in Cityscapes' layout."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from icnet_common.files import atomic_write
from icnet_common.progress import track
from pytorch_icnet.imaging.images import write_label_map

from .canvas import Canvas, Light, PinholeCamera
from .finish import finish
from .street import paint

SIZE = (1024, 2048)
"""Height and width of Cityscapes' images."""


def scene(
    index: int, seed: int = 0, size: tuple[int, int] = SIZE
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw scene ``index`` of the endless series ``seed``.

    The same arguments give the same pixels; another size gives the same street.

    Args:
        index, seed: not negative.
        size: height and width in pixels, each at least 32.

    Returns:
        The picture, uint8 HxWx3 (red, green, blue), and its label map, uint8 HxW: trainIds 0 to 18, and 255 for void,
        which is the camera's own car and a thin border where one thing hides another.

    Raises:
        ValueError: a negative index or seed, or a size below 32.
    """
    if min(size) < 32:
        raise ValueError(f"a scene of {size[0]}x{size[1]} is too small: height and width must be at least 32")
    layout, light, pixels = (np.random.default_rng((seed, index, stream)) for stream in range(3))
    overcast = float(light.uniform(0, 1))
    camera = PinholeCamera(
        focal=size[1] * float(light.uniform(0.85, 1.0)),
        centre=size[1] * float(light.uniform(0.44, 0.56)),
        horizon=size[0] * float(light.uniform(0.40, 0.47)),
        height=float(light.uniform(1.25, 1.55)),
    )
    canvas = Canvas(size, camera, _light(light, overcast))
    paint(canvas, layout, overcast)
    finish(canvas, pixels, light)
    return canvas.rgb, canvas.label()


def _light(rng: np.random.Generator, overcast: float) -> Light:
    around, up = float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.4, 1.1))
    sun = (math.sin(around) * math.cos(up), math.sin(up), math.cos(around) * math.cos(up))
    haze = tuple(a + (b - a) * overcast for a, b in ((196.0, 206.0), (212.0, 208.0), (230.0, 210.0)))
    return Light(sun, 0.75 * (1 - overcast), (haze[0], haze[1], haze[2]), float(rng.uniform(180, 420)))


def write_scenes(
    root: str | os.PathLike[str],
    count: int,
    split: str = "train",
    city: str = "scenes",
    seed: int = 0,
    size: tuple[int, int] = SIZE,
) -> list[str]:
    """Write scenes 0 to ``count - 1`` of the series ``seed`` below ``root``, and show the progress.

    Returns:
        The lines of a list file: the image's and the label map's path, relative to ``root``.

    Raises:
        InputError: a file cannot be written.
    """
    lines = [list_line(index, split, city) for index in range(count)]
    for index, line in enumerate(track(lines, count, "scenes", unit="scenes")):
        rgb, label = scene(index, seed, size)
        image_path, label_path = line.split()
        with atomic_write(Path(root) / image_path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes())
        write_label_map(Path(root) / label_path, label)
    return lines


def list_line(index: int, split: str, city: str) -> str:
    """The list file's line for a scene, in Cityscapes' layout: image and label map, relative to the data's root."""
    name = f"{split}/{city}/{city}_{index:06d}_000000"
    return f"leftImg8bit/{name}_leftImg8bit.png gtFine/{name}_gtFine_labelTrainIds.png"


def write_list(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    """Write a list file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))
