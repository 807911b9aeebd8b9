"""Label maps for people to look at: colours, and colours over the image."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Bytes
from ..datasets.classes import IGNORED, PALETTE


def coloured(labels: Bytes, palette: Bytes = PALETTE) -> Bytes:
    """The colours of a label map: uint8 HxW to uint8 HxWx3; palette: uint8 256x3, both red, green, blue."""
    found = cv2.LUT(cv2.merge([labels, labels, labels]), palette.reshape(256, 1, 3))
    return np.asarray(found, np.uint8)


def blend(image: Bytes, colours: Bytes, alpha: float) -> Bytes:
    """``alpha`` of the colours over the image, both uint8 HxWx3, rounded half up."""
    mixed = cv2.addWeighted(image, 1 - alpha, colours, alpha, 0.5, dtype=cv2.CV_32F)
    return np.asarray(mixed, np.uint8)


def overlay(image: Bytes, labels: Bytes, palette: Bytes = PALETTE, alpha: float = 0.5) -> Bytes:
    """The colours of a label map over its image, uint8 HxWx3; where the label is 255, the image is left as it is."""
    result = blend(image, coloured(labels, palette), alpha)
    ignored = labels == IGNORED
    result[ignored] = image[ignored]
    return result


def side_by_side(image: Bytes, colours: Bytes) -> Bytes:
    """The image at the left and the colours at the right: uint8 Hx2Wx3."""
    return np.hstack([image, colours])
