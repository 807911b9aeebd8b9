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

from .canvas import TRAIN_IDS, Canvas, Light, PinholeCamera, smooth_noise
from .street import paint

SIZE = (1024, 2048)
"""Height and width of Cityscapes' images."""

TEXTURES: dict[str, tuple[int, int, int]] = {
    "road": (10, 4, 8),
    "sidewalk": (9, 5, 8),
    "building": (6, 5, 10),
    "wall": (14, 12, 14),
    "fence": (5, 3, 3),
    "vegetation": (26, 30, 16),
    "terrain": (26, 22, 24),
    "sky": (0, 0, 4),
    "person": (8, 6, 2),
    "rider": (8, 6, 2),
}
"""Strength of a class's fine, middle and coarse texture, percent of its brightness; (4, 2, 4) for the others."""


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
    _finish(canvas, pixels, light)
    return canvas.rgb, canvas.label()


def _light(rng: np.random.Generator, overcast: float) -> Light:
    around, up = float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.4, 1.1))
    sun = (math.sin(around) * math.cos(up), math.sin(up), math.cos(around) * math.cos(up))
    haze = tuple(a + (b - a) * overcast for a, b in ((196.0, 206.0), (212.0, 208.0), (230.0, 210.0)))
    return Light(sun, 0.75 * (1 - overcast), (haze[0], haze[1], haze[2]), float(rng.uniform(180, 420)))


def _finish(canvas: Canvas, rng: np.random.Generator, light: np.random.Generator) -> None:
    """Texture the picture and give it a camera's faults, in place: uneven light, the bonnet, blur and noise.

    How much ``rng``, which is of each pixel, gives depends on the size; what ``light`` gives does not.
    """
    _texture(canvas, rng)
    _bonnet(canvas)
    gain = light.uniform(0.92, 1.25) * light.uniform(0.94, 1.06, 3)
    _expose(canvas.rgb, gain, float(light.uniform(0.0, 0.25)))
    if light.random() < 0.5:
        canvas.rgb[:] = cv2.GaussianBlur(canvas.rgb, (3, 3), 0.6)
    strength = int(light.integers(3, 9))  # of the sensor's noise: grey levels either way
    brighter, darker = rng.integers(0, strength + 1, (2, *canvas.rgb.shape), np.uint8)
    cv2.add(canvas.rgb, brighter, dst=canvas.rgb)
    cv2.subtract(canvas.rgb, darker, dst=canvas.rgb)


def _texture(canvas: Canvas, rng: np.random.Generator) -> None:
    """Multiply each pixel by noise of three scales, each as strong as the class under it asks for."""
    size = canvas.objects.shape
    strengths = np.full((256, 3), (4, 2, 4), np.int16)
    for name, strength in TEXTURES.items():
        strengths[TRAIN_IDS[name]] = strength
    per_object = strengths[np.array(canvas.classes, np.uint8)]
    gain = np.full(size, 12800, np.int16)
    noises = (
        rng.integers(0, 256, size, np.uint8),
        smooth_noise(rng, size, (128, 256)),
        smooth_noise(rng, size, (16, 32)),
    )
    for scale, noise in enumerate(noises):
        field = noise.astype(np.int16) - 128
        field *= per_object[:, scale][canvas.objects]
        gain += field
    canvas.rgb[:] = np.minimum(canvas.rgb * gain.astype(np.int32)[..., None] // 12800, 255)


def _bonnet(canvas: Canvas) -> None:
    """The camera's own car at the lower edge, which is void."""
    height, width = canvas.objects.shape
    canvas.begin("void")
    across = np.linspace(-0.02, 1.02, 41)
    for rise, colour in ((0.1, (44.0, 46.0, 50.0)), (0.088, (92.0, 96.0, 102.0)), (0.06, (60.0, 63.0, 68.0))):
        top = height * (1 - rise * np.sqrt(np.maximum(0.0, 1 - (1.75 * (across - 0.5)) ** 2)))
        corners = np.concatenate([np.stack([across * width, top], 1), [(1.02 * width, height + 2), (-2, height + 2)]])
        canvas.flat(corners, colour)


def _expose(rgb: npt.NDArray[np.uint8], gain: npt.NDArray[np.float64], vignette: float) -> None:
    height, width = rgb.shape[:2]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    falloff = 1 - vignette / 2 * (rows + columns)
    for channel in range(3):
        plane = rgb[..., channel] * (falloff * np.float32(gain[channel]))
        rgb[..., channel] = np.minimum(plane, 255).astype(np.uint8)


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
