"""What a network is fed: an image resized, in its colours, perhaps mirrored.

Views are values. Two protocols that ask for equal views share one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from pytorch_icnet.imaging.pixels import CAFFE, Pixels
from pytorch_icnet.imaging.preprocess import preprocess, resize_image

Size = tuple[int, int]
"""Height and width."""

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """One way to feed an image to a network."""

    size: Size
    """Of the blob."""
    resize: str
    """How the image gets there: a key of :data:`RESIZE`. An image of this size stays as it is."""
    pixels: Pixels
    flip: bool = False
    """Mirrored left to right, after resizing."""

    def blob(self, rgb: Image) -> torch.Tensor:
        """An image, uint8 HxWx3 in red, green, blue, as float32 1x3xHxW."""
        if self.resize == "matlab" and self.pixels == CAFFE and not self.flip:
            return preprocess(rgb, self.size)
        resized = rgb if rgb.shape[:2] == self.size else RESIZE[self.resize](rgb, self.size)
        blob = self.pixels.blob(resized)
        return blob.flip(-1) if self.flip else blob

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {"size": self.size, "resize": self.resize, "pixels": self.pixels.as_data(), "flip": self.flip}


def _opencv(rgb: Image, size: Size) -> Image:
    return np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


RESIZE: dict[str, Callable[[Image, Size], Image]] = {"matlab": resize_image, "opencv": _opencv}
"""Bilinear, from uint8 to uint8: MATLAB's imresize, which widens the kernel where it shrinks, and OpenCV's, which does
not."""
