"""Scenes as files in Cityscapes' layout."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from icnet_common.files import atomic_write
from pytorch_icnet.imaging.images import write_label_map

from .scene import SIZE, scene


def write_scenes(
    root: str | os.PathLike[str],
    count: int,
    split: str = "train",
    city: str = "scenes",
    seed: int = 0,
    size: tuple[int, int] = SIZE,
) -> list[str]:
    """Write scenes 0 to ``count - 1`` of the series ``seed`` below ``root``.

    Returns:
        The lines of a list file: the image's and the label map's path, relative to ``root``.

    Raises:
        InputError: a file cannot be written.
    """
    return [write_scene(root, index, split, city, seed, size) for index in range(count)]


def write_scene(
    root: str | os.PathLike[str], index: int, split: str, city: str, seed: int, size: tuple[int, int]
) -> str:
    """Write scene ``index`` and return its line of the list; see :func:`write_scenes`."""
    rgb, label = scene(index, seed, size)
    line = list_line(index, split, city)
    image_path, label_path = line.split()
    with atomic_write(Path(root) / image_path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes())
    write_label_map(Path(root) / label_path, label)
    return line


def list_line(index: int, split: str, city: str) -> str:
    """The list file's line for a scene, in Cityscapes' layout: image and label map, relative to the data's root."""
    name = f"{split}/{city}/{city}_{index:06d}_000000"
    return f"leftImg8bit/{name}_leftImg8bit.png gtFine/{name}_gtFine_labelTrainIds.png"


def write_list(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    """Write a list file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))
