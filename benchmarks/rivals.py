"""The ways of running ICNet that are compared: this project's, and what one would use instead, each at its best."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytorch_icnet import icnet
from pytorch_icnet.card import card_of
from pytorch_icnet.runtime import PRECISIONS, engine
from pytorch_icnet.runtime.cache import Cache
from pytorch_icnet.runtime.onnx_backends import build_onnxruntime, build_openvino, onnx_file
from pytorch_icnet.runtime.request import Request, Run

SEED = 2018


@dataclass(frozen=True)
class Setting:
    """What is run: images of (height, width) ``size`` in ``batch``, in a precision, on a device."""

    precision: str = "fp32"
    size: tuple[int, int] = (1025, 2049)
    batch: int = 1
    threads: int = 2
    device: str = "cpu"

    def images(self) -> torch.Tensor:
        """Seeded, in the range of a prepared image."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.rand(self.batch, 3, *self.size, generator=generator) * 255 - 110

    def request(self, cache: Cache) -> Request:
        """The net as it is written."""
        net = network()
        device = torch.device(self.device)
        return Request(net, card_of(net), device, self.precision, self.size, self.batch, self.threads, cache)


def network() -> torch.nn.Module:
    """A merged ICNet with seeded weights."""
    torch.manual_seed(SEED)
    return icnet().eval().requires_grad_(False)


def ours(backend: str) -> Callable[[Setting], Run]:
    """The engine of this project with one of its backends."""

    def build(setting: Setting) -> Run:
        return engine(
            network(), setting.device, setting.precision, setting.size, setting.batch, backend, threads=setting.threads
        )

    return build


def as_written(setting: Setting) -> Run:
    """What a published port does: the module, called."""
    module = network().to(setting.device, PRECISIONS[setting.precision])

    def run(x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = module.quarter_scores(x.to(next(module.parameters()).dtype))  # type: ignore[operator]
        return scores.float()

    return run


def channels_last(setting: Setting) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return setting.request(Cache(Path(folder) / "cache")).scores()


def compiled(setting: Setting) -> Run:
    """torch.compile of the channels-last module with its weights frozen."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    options: dict[str, Any] = {"mode": "max-autotune"} if setting.device != "cpu" else {}
    run: Run = torch.compile(channels_last(setting), dynamic=False, **options)
    return run


def by(build: Callable[[Request], Run]) -> Callable[[Setting], Run]:
    """Another runtime on the net as it is written."""
    return lambda setting: build(setting.request(_lasting_cache()))


def open_cv(setting: Setting) -> Run:
    import cv2

    if setting.precision != "fp32":
        raise ValueError("OpenCV's dnn computes in float32 here")
    cv2.setNumThreads(setting.threads)
    net = cv2.dnn.readNetFromONNX(str(onnx_file(setting.request(_lasting_cache()))))

    def run(x: torch.Tensor) -> torch.Tensor:
        net.setInput(x.numpy())
        return torch.from_numpy(np.asarray(net.forward()))

    return run


def exactly(setting: Setting) -> Run:
    """The reference for the errors: the net as it is written, in float64."""
    module = network().double()

    def run(x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = module.quarter_scores(x.double())  # type: ignore[operator]
        return scores

    return run


def _lasting_cache() -> Cache:
    """Files that a runtime reads as long as it runs; the folder goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="icnet-bench-")
    _folders.append(folder)
    return Cache(Path(folder.name) / "cache")


_folders: list[tempfile.TemporaryDirectory[str]] = []

PEERS: dict[str, Callable[[Setting], Run]] = {
    "PyTorch, as written": as_written,
    "PyTorch, channels last": channels_last,
    "torch.compile, frozen": compiled,
    "ONNX Runtime": by(build_onnxruntime),
    "OpenVINO": by(build_openvino),
    "OpenCV dnn": open_cv,
}
"""On the net as it is written."""

OURS: dict[str, Callable[[Setting], Run]] = {
    f"engine, {name}": ours(name) for name in ("eager", "torch", "onnxruntime", "openvino", "native")
}
"""On the rewritten net."""

REFERENCE = "float64"

ALL = {**PEERS, **OURS, REFERENCE: exactly}
