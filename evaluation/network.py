"""The network of a run, ready on its device."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import nn

import pytorch_icnet
from icnet_common.errors import InputError
from pytorch_icnet.card import QUARTER, card_of
from pytorch_icnet.imaging.normalization import Normalization
from pytorch_icnet.imaging.recipes import InputSpec
from pytorch_icnet.predictor import input_spec
from pytorch_icnet.runtime import Engine, engine, rewritten
from pytorch_icnet.runtime.cache import Unavailable
from pytorch_icnet.runtime.devices import device_name
from pytorch_icnet.runtime.request import scores_of

from .protocols import DEFAULT, PROTOCOLS, Logits, ModelInput

Size = tuple[int, int]
"""Height and width."""

EAGER, NATIVE = "eager", "native"
"""Backends of :func:`pytorch_icnet.runtime.engine`. These two give the same scores whatever the number of threads: the
first because each image runs in one."""


@dataclass(frozen=True)
class Network:
    """A network in eval mode, and what belongs to it.

    ``backend`` is what computes the scores: "eager" calls the module, in the thread that asks.
    """

    module: nn.Module
    device: torch.device
    input_size: Size
    """Of the blob, for protocols that resize every image to one size."""
    num_classes: int
    provenance: dict[str, Any]
    backend: str = EAGER
    automatic: bool = False
    """Whether sizes that the backend cannot compute are left to "eager"."""
    threads: int = 1
    """In which another backend computes."""
    rewritten: bool = False
    """Whether the exact rewrites were applied."""
    caffe_faithful: bool = False
    """Of pytorch-semseg's and Supervisely's weights: whether the net has Caffe's stride."""
    other_pixels: Normalization | None = None
    """Colours to feed it instead of its own."""
    _engines: dict[Size, Engine | None] = field(default_factory=dict, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def spec(self) -> InputSpec:
        """What inference recipes have to know of it."""
        return input_spec(card_of(self.module), self.input_size, self.other_pixels)

    @property
    def protocol(self) -> str:
        """The protocol by which its authors evaluate."""
        name = card_of(self.module).protocol
        return name if name in PROTOCOLS else DEFAULT

    def logits(self, blob: torch.Tensor, view: ModelInput) -> Logits:
        """The scores of one blob, 1x3xHxW: at a quarter of the resolution where the network offers them."""
        quarter = card_of(self.module).stride == QUARTER
        with torch.inference_mode():
            ready = self.engine((blob.shape[2], blob.shape[3]))
            x = blob.to(self.device)
            scores = scores_of(self.module, x, quarter=quarter) if ready is None else ready(x)
            planes = scores[0].float().cpu()
        if planes.shape[0] != self.num_classes:
            raise InputError(f"the model scores {planes.shape[0]} classes, expected {self.num_classes}")
        return Logits(planes, view.size, quarter=quarter if ready is None else ready.quarter)

    def engine(self, size: Size) -> Engine | None:
        """The network made ready for blobs of one size by a backend, kept for the next of them; None: by none."""
        if self.backend == EAGER:
            return None
        with self._lock:
            if size not in self._engines:
                self._engines[size] = self._ready(size)
            return self._engines[size]

    def _ready(self, size: Size) -> Engine | None:
        try:
            return engine(
                self.module, self.device, size=size, backend=self.backend, rewrite=False, threads=self.threads
            )
        except Unavailable:
            if self.automatic:
                return None
            raise

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart."""
        return {
            "weights": self.provenance,
            "input_size": list(self.input_size),
            "num_classes": self.num_classes,
            "device": self.device.type,
            "device_name": device_name(self.device),
            "precision": "float32",
            "backend": self.backend,
            "rewritten": self.rewritten,
            "caffe_faithful": self.caffe_faithful,
        }


def open_network(
    weights: Path,
    device: torch.device,
    *,
    input_size: Size | None = None,
    num_classes: int | None = None,
    backend: str = "auto",
    rewrite: bool = True,
    processes: int = 1,
    caffe_faithful: bool = False,
    pixels: Normalization | None = None,
) -> Network:
    """Load weights of any supported kind, and let the GPU compute in full float32 and repeatably from now on.

    Args:
        weights: the file.
        device: where to compute.
        input_size: height and width of the blobs; None: those that belong to the weights.
        num_classes: None: the network's.
        backend: of :func:`pytorch_icnet.runtime.engine`; "auto": "native" where it runs, else "eager".
        rewrite: apply the exact rewrites, see :func:`pytorch_icnet.runtime.rewritten`.
        processes: that share this machine.
        caffe_faithful: see :func:`pytorch_icnet.load`.
        pixels: colours to feed; None: the network's own.

    Raises:
        InputError: the file or the backend cannot be used, or the file is for another number of classes.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    module = pytorch_icnet.load(weights, caffe_faithful=caffe_faithful)
    card = card_of(module)
    classes = card.num_classes or num_classes or 0
    if num_classes is not None and num_classes != classes:
        raise InputError(f"{weights}: scores {classes} classes, but --num-classes is {num_classes}")
    size = input_size or card.input_size
    if size is None:
        raise InputError(f"{weights}: says nothing of an input size; give --input-size H W")
    provenance = card.weights_data()
    module = module.to(device).eval()
    network = Network(
        rewritten(module) if rewrite else module,
        device,
        (int(size[0]), int(size[1])),
        classes,
        provenance,
        NATIVE if backend == "auto" else backend,
        automatic=backend == "auto",
        threads=cores(processes),
        rewritten=rewrite,
        caffe_faithful=caffe_faithful,
        other_pixels=pixels,
    )
    if network.engine(network.input_size) is None:
        return dataclasses.replace(network, backend=EAGER)
    return network


def cores(processes: int) -> int:
    """Of the processor, for each of the processes that share it."""
    return max(1, (os.cpu_count() or 1) // processes)


@dataclass(frozen=True)
class Threads:
    """How many images are in work at once, and in how many threads."""

    read: int
    forward: int
    finish: int

    @classmethod
    def of(cls, network: Network, processes: int = 1, workers: int | None = None) -> Threads:
        """A good choice for this machine.

        On the processor PyTorch runs the net of each image in one thread, and several images beside each other: the
        sums of its convolutions, and with them the last bits of the scores, depend on the number of threads, but the
        results of a run must not. Other backends take all threads for one image. Beside a GPU the processor's work is
        the slower part.

        Args:
            network: what runs.
            processes: that share this machine.
            workers: images in the net at once, on the processor; None: one per core, at most 8, where PyTorch runs it.
        """
        own = min(cores(processes), 8)
        if network.device.type == "cpu":
            return cls(1, workers or (own if network.backend == EAGER else 1), max(1, own // 2))
        return cls(own, 1, own)
