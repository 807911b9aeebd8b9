"""Where weights come from: those of ICNet's authors, its variants and the demo, and the figures that belong to them.

The originals' files, md5 sums and figures: the README and ``model/README`` of the original repository (hszhao/ICNet)
and the paper (ECCV 2018). The variants': ``configs/icnet/README.md`` of open-mmlab/mmsegmentation 0.30.0, and the
README and ``configs/icnet.yaml`` of liminn/ICNet-pytorch da394fc. Those weights are their authors'; nothing of them is
in this project. The demo's are its own: ``demo/icnet_demo.caffemodel``, trained on generated scenes.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icnet_common.files import digests

MEAN_RGB = (123.68, 116.779, 103.939)
"""Subtracted from each channel (red, green, blue; 0 to 255) before the net."""

PUBLISHED_TIME_MS = (33.0, 36.0)
"""``caffe time``'s average forward pass of the merged net at 1025x2049 on a TitanX."""


@dataclass(frozen=True)
class KnownWeights:
    """One published file. Scores are percent, of all images of a split of Cityscapes.

    Attributes:
        file: the published name.
        md5: of the file, hexadecimal; empty where it was not published.
        net: the bundled net that it belongs to, or the network's name in recipes (``mmseg-r18``).
        split: of Cityscapes, on which the published scores were measured.
        mean_iou: published.
        pixel_accuracy: published; None where it was not.
        source: where the figures stand.
        num_classes: of the score layer.
        input_size: (height, width) for which its net is written, or of the images it was evaluated on.
        pixels: its pre-processing, by the name that recipes use.
        protocol: under which the scores were measured, by its name in :mod:`evaluation.protocols`.
        multi_scale_mean_iou: published, averaged over six sizes and mirror images.
        fps: published images per second, batch 1, at ``input_size``; its device is in ``device``.
        device: on which the published speed was measured.
        training_gb: published GPU memory of training (GB).
        recipe, seed: of the training, where the weights come from one with :mod:`training`.
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
    pixels: str = "caffe"
    protocol: str = "official"
    multi_scale_mean_iou: float | None = None
    fps: float | None = None
    device: str | None = None
    training_gb: float | None = None
    recipe: str | None = None
    seed: int | None = None

    def scores(self, *, multi_scale: bool = False) -> dict[str, float]:
        """What was published, by the figure's key: percent, of one pass over each image or of several."""
        published = {
            "mean_iou": self.multi_scale_mean_iou if multi_scale else self.mean_iou,
            "pixel_accuracy": None if multi_scale else self.pixel_accuracy,
        }
        return {key: value for key, value in published.items() if value is not None}


def _icnet(name: str, md5: str, split: str, mean_iou: float, pixel_accuracy: float | None) -> KnownWeights:
    file, net = f"icnet_cityscapes_{name}.caffemodel", "icnet_cityscapes"
    net += "_bnnomerge" * name.endswith("_bnnomerge")
    return KnownWeights(file, md5, net, split, mean_iou, pixel_accuracy, "README of hszhao/ICNet")


KNOWN_WEIGHTS: tuple[KnownWeights, ...] = (
    _icnet("train_30k", "c7038630c4b6c869afaaadd811bdb539", "val", 67.7, 94.5),
    _icnet("train_30k_bnnomerge", "6da59a72a254862106420983a7723624", "val", 67.7, 94.5),
    _icnet("trainval_90k", "4f4dd9eecd465dd8de7e4cf88ba5d5d5", "test", 69.5, None),
    _icnet("trainval_90k_bnnomerge", "ba3cf6e24beb07068dacc901a9c7f28b", "test", 69.5, None),
    KnownWeights(
        "icnet_demo.caffemodel",
        "6bb147c4dce252f331b0f4f7e0e8ace6",
        "icnet_cityscapes_bnnomerge",
        "the 40 scenes of samplelist/demo.txt",
        68.29,
        92.6,
        "docs/demo.md",
        input_size=(257, 513),
        recipe="demo",
        seed=2018,
    ),
)


def _mmseg(
    depth: int, name: str, mean_iou: float, multi_scale: float, fps: float | None = None, memory: float | None = None
) -> KnownWeights:
    source = "configs/icnet/README.md of mmsegmentation 0.30.0"
    published = ("", f"mmseg-r{depth}", "val", mean_iou, None, source, 19, (1024, 2048), "imagenet", "mmseg")
    device = None if fps is None else "V100"
    return KnownWeights(f"icnet_r{depth}-d8_{name}.pth", *published, multi_scale, fps, device, memory)


def _liminn(name: str, mean_iou: float, source: str) -> KnownWeights:
    published = ("", "liminn", "val", mean_iou, None, source, 19, (1024, 2048), "torchvision", "liminn")
    return KnownWeights(f"icnet_resnet50_{name}_best_model.pth", *published, fps=52.6, device="GTX 1080 Ti")


VARIANTS: tuple[KnownWeights, ...] = (
    _mmseg(18, "832x832_80k_cityscapes_20210925_225521-2e36638d", 68.14, 70.16, 27.12, 1.70),
    _mmseg(18, "832x832_160k_cityscapes_20210925_230153-2c6eb6e0", 71.64, 74.18),
    _mmseg(18, "in1k-pre_832x832_80k_cityscapes_20210925_230354-1cbe3022", 72.51, 74.78),
    _mmseg(18, "in1k-pre_832x832_160k_cityscapes_20210926_052702-619c8ae1", 74.43, 76.72),
    _mmseg(50, "832x832_80k_cityscapes_20210926_044625-c6407341", 68.91, 69.72, 20.08, 2.53),
    _mmseg(50, "832x832_160k_cityscapes_20210925_232612-a95f0d4e", 73.82, 75.67),
    _mmseg(50, "in1k-pre_832x832_80k_cityscapes_20210926_032943-1743dc7b", 74.58, 76.41),
    _mmseg(50, "in1k-pre_832x832_160k_cityscapes_20210926_042715-ce310aea", 76.29, 78.09),
    _mmseg(101, "832x832_80k_cityscapes_20210926_072447-b52f936e", 70.28, 71.95, 16.95, 3.08),
    _mmseg(101, "832x832_160k_cityscapes_20210926_092350-3a1ebf1a", 73.80, 76.10),
    _mmseg(101, "in1k-pre_832x832_80k_cityscapes_20210926_020414-7ceb12c5", 75.57, 77.86),
    _mmseg(101, "in1k-pre_832x832_160k_cityscapes_20210925_232612-9484ae8a", 76.15, 77.98),
    _liminn("197_0.710", 71.0, "README of liminn/ICNet-pytorch da394fc"),
    _liminn("182_0.667", 66.7, "an earlier README of liminn/ICNet-pytorch"),
)
"""Files of other projects, whose md5 sums are not known: see :func:`by_filename`."""

_MMSEG = re.compile(
    r"icnet_r(?P<depth>18|50|101)-d8[-_](?P<pre>in1k-pre_)?"
    r"(?:832x832_(?P<old>\d+k)_cityscapes|4xb2-(?P<new>\d+k)_cityscapes-832x832)"
)


def by_md5(md5: str) -> KnownWeights | None:
    """The published weights with this sum."""
    return next((known for known in KNOWN_WEIGHTS if known.md5 == md5.lower()), None)


def by_file(name: str) -> KnownWeights | None:
    """The published weights of this file name (without folders)."""
    return next((known for known in (*KNOWN_WEIGHTS, *VARIANTS) if known.file == name), None)


def by_filename(name: str) -> KnownWeights | None:
    """The variants' weights that a file's name (without folders) claims to be: no proof of what it holds.

    Also names of configurations, old and new, alone: ``icnet_r50-d8_832x832_80k_cityscapes.pth``,
    ``icnet_r50-d8_4xb2-80k_cityscapes-832x832.pth``.
    """
    found = by_file(name) or next(
        (known for known in VARIANTS if _claims(name) == _claims(known.file) is not None), None
    )
    return found if found in VARIANTS else None


def lookup(md5: str, file: str) -> KnownWeights | None:
    """The published weights that a file is by its md5, or else claims to be by its name."""
    return by_md5(md5) or by_filename(file)


def of_network(net: str) -> tuple[KnownWeights, ...]:
    """All published weights of a network, see :attr:`KnownWeights.net`."""
    return tuple(known for known in (*KNOWN_WEIGHTS, *VARIANTS) if known.net == net)


def _claims(name: str) -> tuple[str | None, ...] | None:
    """Depth, whether the beginning was trained, and iterations in a name of mmsegmentation's."""
    found = _MMSEG.match(name)
    return None if found is None else (found["depth"], found["pre"], found["old"] or found["new"])


@dataclass(frozen=True)
class Provenance:
    """A file of weights and its sums.

    Attributes:
        file: name of the original file, without folders.
        md5, sha256: of the original file, hexadecimal.
        known: name of the published file with this md5, or None.
    """

    file: str
    md5: str
    sha256: str
    known: str | None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Provenance:
        """Read a file once and take its sums."""
        md5, sha256 = digests(path, "md5", "sha256")
        known = by_md5(md5)
        return cls(Path(path).name, md5, sha256, known.file if known else None)

    @classmethod
    def from_data(cls, data: Any) -> Provenance:
        """What :meth:`as_data` gave.

        Raises:
            ValueError: anything else.
        """
        keys = ("file", "md5", "sha256", "known")
        if not isinstance(data, dict) or {*data} != {*keys}:
            raise ValueError(f"a provenance has {', '.join(keys)}")
        if not all(isinstance(data[key], str) or (key == "known" and data[key] is None) for key in keys):
            raise ValueError("a provenance holds texts")
        return cls(**data)

    def as_data(self) -> dict[str, str | None]:
        """For JSON."""
        return dataclasses.asdict(self)
