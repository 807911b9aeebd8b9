"""One scene: a street under a light, seen by a camera."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .camera import PinholeCamera
from .canvas import Canvas, Light
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
    canvas = Canvas(size, _camera(light, size), _light(light, overcast))
    paint(canvas, layout, overcast)
    finish(canvas, pixels, light)
    return canvas.rgb, canvas.label()


def _camera(rng: np.random.Generator, size: tuple[int, int]) -> PinholeCamera:
    height, width = size
    return PinholeCamera(
        focal=width * float(rng.uniform(0.85, 1.0)),
        centre=width * float(rng.uniform(0.44, 0.56)),
        horizon=height * float(rng.uniform(0.40, 0.47)),
        height=float(rng.uniform(1.25, 1.55)),
    )


def _light(rng: np.random.Generator, overcast: float) -> Light:
    around, up = float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.4, 1.1))
    sun = (math.sin(around) * math.cos(up), math.sin(up), math.cos(around) * math.cos(up))
    haze = tuple(a + (b - a) * overcast for a, b in ((196.0, 206.0), (212.0, 208.0), (230.0, 210.0)))
    return Light(sun, 0.75 * (1 - overcast), (haze[0], haze[1], haze[2]), float(rng.uniform(180, 420)))
