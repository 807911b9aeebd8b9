"""Changing images and their labels at random, in one way for one random generator."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from pytorch_icnet.datasets.classes import IGNORED
from pytorch_icnet.imaging.normalization import NORMALIZATIONS

from .recipes.recipe import DataSection

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Size = tuple[int, int]

_CROP_TRIES = 10


class Augmentation:
    """From an image and its labels to a blob and its labels: resized, scaled, cropped, mirrored, recoloured.

    Without ``random`` nothing is drawn: images are resized alone.
    """

    def __init__(self, options: DataSection, *, random: bool = True) -> None:
        self.options, self.random = options, random
        self.pixels = NORMALIZATIONS[options.pixels]

    def __call__(self, rgb: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """One sample.

        Args:
            rgb: uint8 HxWx3.
            labels: uint8 HxW: trainIds, 255 for void.
            rng: decides everything that is drawn.

        Returns:
            The blob, float32 3xhxw, and its labels, uint8 hxw. What was added around the image is the mean, which is 0
            in the blob, and void in the labels.
        """
        options = self.options
        if options.resize is not None:
            rgb, labels = _resize(rgb, labels, options.resize)
        if self.random:
            factor = float(rng.uniform(*options.scale))
            if options.scale != (1.0, 1.0):
                height, width = (max(1, round(n * factor)) for n in labels.shape)
                rgb, labels = _resize(rgb, labels, (height, width))
            if options.crop is not None:
                rows, columns = self._window(labels, options.crop, rng)
                rgb, labels = rgb[rows, columns], labels[rows, columns]
            if rng.random() < options.mirror:
                rgb, labels = rgb[:, ::-1], labels[:, ::-1]
            if options.photometric:
                rgb = distort(rgb, options.photometric, rng)
            if rng.random() < options.blur:
                radius = float(rng.uniform(0, 1))
                if radius >= 0.05:  # OpenCV cannot weigh a narrower kernel, which changes nothing
                    rgb = np.asarray(cv2.GaussianBlur(np.ascontiguousarray(rgb), (0, 0), radius), np.uint8)
        blob = self.pixels.blob(rgb)[0]
        target = torch.from_numpy(np.ascontiguousarray(labels))
        return pad(blob, target, options.crop) if self.random and options.crop is not None else (blob, target)

    def _window(self, labels: Bytes, crop: Size, rng: np.random.Generator) -> tuple[slice, slice]:
        """Where to cut; drawn again while one class takes too much of what is labelled."""
        for _ in range(_CROP_TRIES):
            top, left = (int(rng.integers(0, max(n - c, 0) + 1)) for n, c in zip(labels.shape, crop, strict=True))
            window = slice(top, top + crop[0]), slice(left, left + crop[1])
            if self.options.max_class_share >= 1:
                break
            counts = np.bincount(labels[window].ravel(), minlength=256)[:IGNORED]
            if (counts > 0).sum() > 1 and counts.max() <= self.options.max_class_share * counts.sum():
                break
        return window


def pad(blob: torch.Tensor, labels: torch.Tensor, size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """A blob and its labels with zeros (the mean) and void below and to the right, up to a size."""
    below, right = (max(wanted - n, 0) for wanted, n in zip(size, labels.shape, strict=True))
    if not below and not right:
        return blob, labels
    edges = (0, right, 0, below)
    return torch.nn.functional.pad(blob, edges), torch.nn.functional.pad(labels, edges, value=IGNORED)


def distort(rgb: Bytes, probability: float, rng: np.random.Generator) -> Bytes:
    """Brightness, contrast, saturation and hue, each with a probability, within the bounds that mmsegmentation has.

    Brightness is moved by up to 32, contrast and saturation are multiplied by 0.5 to 1.5, hue turns by up to 36 degrees
    (18 steps of OpenCV's 180). Contrast comes before or after the colours, by chance.
    """
    image: Floats = rgb.astype(np.float32)
    if rng.random() < probability:
        image = image + np.float32(rng.uniform(-32, 32))
    contrast = np.float32(rng.uniform(0.5, 1.5)) if rng.random() < probability else np.float32(1)
    before = rng.random() < 0.5
    if before:
        image = image * contrast
    saturation = float(rng.uniform(0.5, 1.5)) if rng.random() < probability else 1.0
    hue = int(rng.integers(-18, 19)) if rng.random() < probability else 0
    if saturation != 1 or hue:
        hsv = cv2.cvtColor(_to_bytes(image), cv2.COLOR_RGB2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + hue) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 255)
        image = cv2.cvtColor(_to_bytes(hsv), cv2.COLOR_HSV2RGB).astype(np.float32)
    return _to_bytes(image if before else image * contrast)


def _to_bytes(image: npt.NDArray[Any]) -> Bytes:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _resize(rgb: Bytes, labels: Bytes, size: Size) -> tuple[Bytes, Bytes]:
    """The image bilinearly, the labels by the nearest pixel, both with pixels' centres at half."""
    if labels.shape == size:
        return rgb, labels
    image = cv2.resize(np.ascontiguousarray(rgb), size[::-1], interpolation=cv2.INTER_LINEAR)
    nearest = cv2.resize(np.ascontiguousarray(labels), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(image, np.uint8), np.asarray(nearest, np.uint8)
