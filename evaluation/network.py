"""The network of a run, ready on its device."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pytorch_icnet
from prototxt.errors import InputError
from pytorch_icnet import ICNet, console
from pytorch_icnet.icnet import legal_sizes
from pytorch_icnet.imaging.pixels import CAFFE, Pixels

from .protocols import DEFAULT, PROTOCOLS, Logits, View

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Network:
    """A network in eval mode, and what belongs to it."""

    module: nn.Module
    device: torch.device
    input_size: Size
    """Of the blob, for protocols that resize every image to one size."""
    num_classes: int
    provenance: dict[str, Any]

    @property
    def pixels(self) -> Pixels | None:
        """The colours that it was trained on, where it is known."""
        known = CAFFE if isinstance(self.module, ICNet) else None
        found: Pixels | None = getattr(self.module, "pixels", known)
        return found

    @property
    def protocol(self) -> str:
        """The protocol by which its authors evaluate."""
        name = getattr(self.module, "protocol", DEFAULT)
        return name if name in PROTOCOLS else DEFAULT

    @property
    def fit(self) -> Callable[[Size], Size]:
        """The nearest size, not below a given one, that it takes."""
        if not isinstance(self.module, ICNet):
            return lambda size: size
        return lambda size: (max(legal_sizes(size[0])), max(legal_sizes(size[1])))

    def logits(self, blob: torch.Tensor, view: View) -> Logits:
        """The scores of one blob, 1x3xHxW: at a quarter of the resolution where the network offers them."""
        quarter = getattr(self.module, "quarter_scores", None)
        with torch.inference_mode():
            scores: torch.Tensor = (quarter or self.module)(blob.to(self.device))
            planes = scores[0].float().cpu()
        if planes.shape[0] != self.num_classes:
            raise InputError(f"the model scores {planes.shape[0]} classes, expected {self.num_classes}")
        return Logits(planes, view.size, quarter=quarter is not None)

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {
            "weights": self.provenance,
            "input_size": list(self.input_size),
            "num_classes": self.num_classes,
            "device": self.device.type,
            "device_name": console.device_name(self.device),
            "precision": "float32",
        }


def open_network(
    weights: Path, device: torch.device, *, input_size: Size | None = None, num_classes: int | None = None
) -> Network:
    """Load weights of any supported kind, and let the GPU compute in full float32 and repeatably from now on.

    Args:
        weights: the file.
        device: where to compute.
        input_size: height and width of the blobs; None: those that belong to the weights.
        num_classes: None: the network's.

    Raises:
        InputError: the file cannot be used, or is for another number of classes.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    module = pytorch_icnet.load(weights)
    classes = int(getattr(module, "num_classes", num_classes or 0))
    if num_classes is not None and num_classes != classes:
        raise InputError(f"{weights}: scores {classes} classes, but --num-classes is {num_classes}")
    size = input_size or getattr(module, "input_size", None)
    if size is None:
        raise InputError(f"{weights}: says nothing of an input size; give --input-size H W")
    provenance = dict(getattr(module, "provenance", None) or {})
    return Network(module.to(device).eval(), device, (int(size[0]), int(size[1])), classes, provenance)


@dataclass(frozen=True)
class Threads:
    """How many images are in work at once, and in how many threads."""

    read: int
    forward: int
    finish: int

    @classmethod
    def for_device(cls, device: torch.device, processes: int = 1, workers: int | None = None) -> Threads:
        """A good choice for this machine.

        On the processor the net of each image runs in one thread, and several images run beside each other: the sums
        of a convolution, and with them the last bits of the scores, depend on the number of threads, but the results
        of a run must not. Beside a GPU the processor's work is the slower part.

        Args:
            device: where the net runs.
            processes: that share this machine.
            workers: images in the net at once, on the processor; None: one per core, at most 8.
        """
        cores = max(1, (os.cpu_count() or 1) // processes)
        if device.type == "cpu":
            return cls(1, workers or min(cores, 8), max(1, min(cores, 8) // 2))
        return cls(min(cores, 8), 1, min(cores, 8))
