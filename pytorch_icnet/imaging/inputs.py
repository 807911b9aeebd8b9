"""What a network is fed: an image resized, in its colours, perhaps mirrored.

Views are values. Two protocols that ask for equal views share one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

import cv2
import numpy as np
import torch

from icnet_common.errors import InputError

from ..arrays import Bytes, Size
from .normalization import Normalization
from .preprocess import image_blob, resize_image


@dataclass(frozen=True)
class ModelInput:
    """One way to feed an image to a network."""

    size: Size
    """Of the blob."""
    resize: str
    """How the image gets there: a key of :data:`RESIZE`. An image of this size stays as it is."""
    pixels: Normalization
    flip: bool = False
    """Mirrored left to right, after resizing."""

    def blob(self, rgb: Bytes) -> torch.Tensor:
        """An image, uint8 HxWx3 in red, green, blue, as float32 1x3xHxW."""
        if self.resize == "matlab":  # in one pass
            blob = image_blob(rgb, self.size, self.pixels)
        else:
            blob = self.pixels.blob(rgb if rgb.shape[:2] == self.size else RESIZE[self.resize](rgb, self.size))
        return blob.flip(-1) if self.flip else blob

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {**vars(self), "size": list(self.size), "pixels": self.pixels.as_data()}


def _opencv(rgb: Bytes, size: Size) -> Bytes:
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def pillow_nearest(labels: Bytes, size: Size) -> Bytes:
    """A label map, uint8 HxW, at another size as Pillow's NEAREST chooses its pixels."""
    return _pillow(labels, size, "NEAREST")


def _pillow(image: Bytes, size: Size, resampling: str = "BILINEAR") -> Bytes:
    pil = pillow_module("Image", "pytorch-semseg's resizing")
    return np.array(pil.fromarray(image).resize(size[::-1], pil.Resampling[resampling]))


def pillow_module(name: str, purpose: str) -> ModuleType:
    """``PIL.name``, from an extra: for results that equal another system's drawing or resizing bit for bit.

    Args:
        name: a submodule, such as ``Image``.
        purpose: what needs it, for the message.

    Raises:
        InputError: Pillow is not installed.
    """
    try:
        return import_module(f"PIL.{name}")
    except ImportError:
        raise InputError(f"{purpose} needs Pillow: pip install pytorch-icnet[pillow]") from None


RESIZE: Mapping[str, Callable[[Bytes, Size], Bytes]] = MappingProxyType(
    {"matlab": resize_image, "opencv": _opencv, "pillow": _pillow}
)
"""Bilinear, uint8 HxWx3 to uint8 of a size. OpenCV's does not widen the kernel where it shrinks; the others do."""
