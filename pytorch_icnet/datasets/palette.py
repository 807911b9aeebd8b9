"""Cityscapes' classes and the palette of the colour label maps: the one place for their ids, names and
colours.

Ids, names and colours are those of Cityscapes' label table (github.com/mcordts/cityscapesScripts); the rest
of the palette is PASCAL VOC's colour map, as in the official evaluation's ``colormapcs``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IGNORED = 255
"""The trainId of pixels that belong to no class that is trained or scored."""


class CityscapesClass(NamedTuple):
    """A class that is trained and scored; its trainId is its place in :data:`CITYSCAPES`."""

    name: str
    label_id: int
    """The id in the ``labelIds`` images, which the test server expects."""
    colour: tuple[int, int, int]
    """Red, green, blue; 0 to 255."""


CITYSCAPES = (
    CityscapesClass("road", 7, (128, 64, 128)),
    CityscapesClass("sidewalk", 8, (244, 35, 232)),
    CityscapesClass("building", 11, (70, 70, 70)),
    CityscapesClass("wall", 12, (102, 102, 156)),
    CityscapesClass("fence", 13, (190, 153, 153)),
    CityscapesClass("pole", 17, (153, 153, 153)),
    CityscapesClass("traffic light", 19, (250, 170, 30)),
    CityscapesClass("traffic sign", 20, (220, 220, 0)),
    CityscapesClass("vegetation", 21, (107, 142, 35)),
    CityscapesClass("terrain", 22, (152, 251, 152)),
    CityscapesClass("sky", 23, (70, 130, 180)),
    CityscapesClass("person", 24, (220, 20, 60)),
    CityscapesClass("rider", 25, (255, 0, 0)),
    CityscapesClass("car", 26, (0, 0, 142)),
    CityscapesClass("truck", 27, (0, 0, 70)),
    CityscapesClass("bus", 28, (0, 60, 100)),
    CityscapesClass("train", 31, (0, 80, 100)),
    CityscapesClass("motorcycle", 32, (0, 0, 230)),
    CityscapesClass("bicycle", 33, (119, 11, 32)),
)


def class_names(num_classes: int) -> tuple[str, ...]:
    """Cityscapes' names for its 19 classes; "class 0", "class 1", ... for any other number."""
    if num_classes == len(CITYSCAPES):
        return tuple(item.name for item in CITYSCAPES)
    return tuple(f"class {index}" for index in range(num_classes))


def voc_colours(count: int = 256) -> npt.NDArray[np.uint8]:
    """PASCAL VOC's colour map, uint8 count x 3: bit 3j + c of the index becomes bit 7 - j of channel c."""
    index = np.arange(count)[:, None]
    channel = np.arange(3)
    colours = np.zeros((count, 3), np.int64)
    for j in range(8):
        colours |= ((index >> (3 * j + channel)) & 1) << (7 - j)
    return colours.astype(np.uint8)


def _palette() -> npt.NDArray[np.uint8]:
    colours = voc_colours()
    colours[: len(CITYSCAPES)] = [item.colour for item in CITYSCAPES]
    colours[IGNORED] = 0
    colours.setflags(write=False)
    return colours


PALETTE = _palette()
"""uint8 256x3, red green blue, read-only: Cityscapes' 19 colours, PASCAL VOC's at the same index for 19 to 254,
and black."""
