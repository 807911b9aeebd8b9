"""The weights that ICNet's authors published, and the figures that belong to them.

Files, md5 sums and figures: the README and ``model/README`` of the original repository (hszhao/ICNet) and the paper
(ECCV 2018). The weights are their authors'; nothing of them is in this project.
"""

from __future__ import annotations

from dataclasses import dataclass

MEAN_RGB = (123.68, 116.779, 103.939)
"""Subtracted from each channel (red, green, blue; 0 to 255) before the net."""

PUBLISHED_TIME_MS = (33.0, 36.0)
"""``caffe time``'s average forward pass of the merged net at 1025x2049 on a TitanX."""


@dataclass(frozen=True)
class KnownWeights:
    """One published file.

    Attributes:
        file: the published name.
        md5: of the file, hexadecimal.
        net: the bundled net that it belongs to.
        num_classes: of the score layer.
        input_size: (height, width) for which its net is written.
        mean_rgb: of its pre-processing; channels are fed as blue, green, red.
        split: of Cityscapes, on which the published scores were measured.
        mean_iou: published, percent.
        pixel_accuracy: published, percent; None where it was not.
        source: where the figures stand.
    """

    file: str
    md5: str
    net: str
    split: str
    mean_iou: float
    pixel_accuracy: float | None
    source: str
    num_classes: int = 19
    input_size: tuple[int, int] = (1025, 2049)
    mean_rgb: tuple[float, float, float] = MEAN_RGB


_README = "README of hszhao/ICNet"

KNOWN_WEIGHTS: tuple[KnownWeights, ...] = (
    KnownWeights(
        "icnet_cityscapes_train_30k.caffemodel",
        "c7038630c4b6c869afaaadd811bdb539",
        "icnet_cityscapes",
        "val",
        67.7,
        94.5,
        _README,
    ),
    KnownWeights(
        "icnet_cityscapes_train_30k_bnnomerge.caffemodel",
        "6da59a72a254862106420983a7723624",
        "icnet_cityscapes_bnnomerge",
        "val",
        67.7,
        94.5,
        _README,
    ),
    KnownWeights(
        "icnet_cityscapes_trainval_90k.caffemodel",
        "4f4dd9eecd465dd8de7e4cf88ba5d5d5",
        "icnet_cityscapes",
        "test",
        69.5,
        None,
        _README,
    ),
    KnownWeights(
        "icnet_cityscapes_trainval_90k_bnnomerge.caffemodel",
        "ba3cf6e24beb07068dacc901a9c7f28b",
        "icnet_cityscapes_bnnomerge",
        "test",
        69.5,
        None,
        _README,
    ),
)


def by_md5(md5: str) -> KnownWeights | None:
    """The published weights with this sum."""
    return next((known for known in KNOWN_WEIGHTS if known.md5 == md5.lower()), None)


def by_file(name: str) -> KnownWeights | None:
    """The published weights of this file name (without folders)."""
    return next((known for known in KNOWN_WEIGHTS if known.file == name), None)
