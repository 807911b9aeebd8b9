"""What makes a painted scene look like a photograph: texture, uneven light, the bonnet, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .canvas import TRAIN_IDS, Canvas, smooth_noise

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


def finish(canvas: Canvas, rng: np.random.Generator, light: np.random.Generator) -> None:
    """Texture the picture and give it a camera's faults, in place.

    Args:
        rng: of each pixel; how much it gives depends on the size.
        light: of the whole picture; what it gives does not.
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
    """Exposure, white balance and darker corners."""
    height, width = rgb.shape[:2]
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    falloff = 1 - vignette / 2 * (rows + columns)
    for channel in range(3):
        plane = rgb[..., channel] * (falloff * np.float32(gain[channel]))
        rgb[..., channel] = np.minimum(plane, 255).astype(np.uint8)
