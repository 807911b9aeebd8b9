"""Smooth noise, for clouds and texture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Noise from 0 to 255 with about ``cells`` (rows, columns) hills and valleys over a picture of ``size``."""
    noise = rng.integers(0, 256, cells, np.uint8)
    while noise.shape[1] < 256:
        noise = np.asarray(cv2.pyrUp(noise), np.uint8)
    low, high = int(noise.min()), int(noise.max())
    noise = ((noise.astype(np.int32) - low) * 255 // max(1, high - low)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
