"""How networks want an image's colours: the order of the channels, a divisor, a mean and a standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ..arrays import Bytes
from ..weights.known import MEAN_RGB


@dataclass(frozen=True)
class Normalization:
    """From uint8 to the numbers of a blob: ``(pixel / divisor - mean) / std``, in float32.

    ``mean`` and ``std`` are in the order red, green, blue, whichever order the blob has.
    """

    order: str
    """"RGB" or "BGR"."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    divisor: float = 1.0

    def blob(self, rgb: Bytes) -> torch.Tensor:
        """An image, uint8 HxWx3 in red, green, blue, as a blob: float32 1x3xHxW."""
        blob = np.empty((1, 3, *rgb.shape[:2]), np.float32)
        for plane, name in enumerate(self.order):
            channel = "RGB".index(name)
            values = blob[0, plane]
            values[...] = rgb[..., channel]
            if self.divisor != 1:
                values /= np.float32(self.divisor)
            values -= np.float32(self.mean[channel])
            if self.std[channel] != 1:
                values /= np.float32(self.std[channel])
        return torch.from_numpy(blob)

    def as_data(self) -> dict[str, Any]:
        """For reports."""
        return {"order": self.order, "mean_rgb": [*self.mean], "std_rgb": [*self.std], "divisor": self.divisor}


CAFFE = Normalization("BGR", MEAN_RGB)
"""The original ICNet's."""

IMAGENET = Normalization("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""mmsegmentation's."""

TORCHVISION = Normalization("RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255.0)
"""ImageNet's as torchvision writes them, used by liminn/ICNet-pytorch."""

UNIT_BGR = Normalization("BGR", divisor=255.0)
"""pytorch-semseg's default, which its ``validate.py`` always uses."""

NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {"caffe": CAFFE, "imagenet": IMAGENET, "torchvision": TORCHVISION, "unit-bgr": UNIT_BGR}
)
"""By the name that recipes, commands and :mod:`pytorch_icnet.weights.known` use."""
