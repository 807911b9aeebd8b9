"""The fastest way to run a network on this machine, behind one function."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from converter.layers.interp import Interp
from icnet_common.errors import InputError

from ..arrays import Size
from ..card import QUARTER, card_of
from ..imaging.plain import ZOOM
from ..weights import checkpoints
from .cache import Cache, Unavailable
from .devices import check_precision
from .memory import keep_memory
from .native.network import build_native
from .onnx_backends import build_onnxruntime, build_openvino
from .request import Request, Run
from .rewritten import rewritten
from .torch_backends import build_ahead_of_time, build_cuda, build_eager

BUILDERS: dict[str, Callable[[Request], Run]] = {
    "native": build_native,
    "openvino": build_openvino,
    "onnxruntime": build_onnxruntime,
    "torch": build_ahead_of_time,
    "eager": build_eager,
}
"""From the fastest to the slowest with AMX. Without, "torch" overtakes the two before it once it is compiled, which
takes a minute or two; see docs/performance.md."""

GPU_BUILDERS: dict[str, Callable[[Request], Run]] = {"torch": build_cuda, "eager": build_eager}

BACKENDS = ("auto", *BUILDERS)

FALLBACK = "eager"
"""What runs everywhere."""


@dataclass(frozen=True)
class Engine:
    """A network that is ready to run on images of one size.

    Attributes:
        backend: the one that runs; see :func:`engine`.
        notes: what the user should know, a line each, such as why a faster backend was not taken.
        request: what was asked for, the network included.
        quarter: whether the scores are those at a quarter of the resolution.
        rewritten: whether the exact rewrites were applied.
    """

    backend: str
    notes: tuple[str, ...]
    request: Request
    quarter: bool
    rewritten: bool
    _run: Run

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of images; calls from several threads wait for each other.

        Args:
            x: (N, 3, H, W), blue, green and red minus the mean, of the engine's size, on any device. N is free on the
                processor, where images run one after the other, and the engine's batch on a GPU.

        Returns:
            (N, classes, h, w) float32, contiguous, on the engine's device; the caller's own.

        Raises:
            InputError: another shape.
        """
        request = self.request
        if x.dim() != 4 or tuple(x.shape[1:]) != (3, *request.size):
            raise InputError(f"the engine takes images of {(3, *request.size)}, not {tuple(x.shape[1:])}")
        if request.device.type != "cpu" and len(x) != request.batch:
            raise InputError(f"the engine takes {request.batch} images at a time, not {len(x)}")
        with torch.inference_mode():
            x = x.to(request.device, torch.float32)
            if request.device.type == "cpu" and len(x) != 1:
                scores = torch.cat([self._run(image[None]) for image in x])
            else:
                scores = self._run(x)
            if request.card.stride == QUARTER and not self.quarter:
                scores = Interp(zoom=ZOOM)(scores)
        return scores

    def as_data(self) -> dict[str, Any]:
        """For reports."""
        request = self.request
        return {
            "backend": self.backend,
            "precision": request.precision,
            "input_size": list(request.size),
            "rewritten": self.rewritten,
            "threads": request.threads,
            "notes": list(self.notes),
        }


def engine(
    source: str | os.PathLike[str] | nn.Module,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    size: Size | None = None,
    batch: int = 1,
    backend: str = "auto",
    *,
    rewrite: bool = True,
    full: bool = False,
    threads: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Engine:
    """Prepare a network for images of one size.

    Args:
        source: weights in any supported file, or a network: an ICNet, a converted graph, or any other that maps images
            to scores.
        device: where to compute.
        precision: "fp32"; "bf16", "fp16"; "tf32" on NVIDIA's GPUs.
        size: (height, width) of the images; None: the weights' own.
        batch: images in a call on a GPU.
        backend: "native": own kernels, which need an x86 processor with AVX2 (bf16: AMX) and a C++ compiler; "torch":
            compiled ahead of time by PyTorch, which needs a C++ compiler; "onnxruntime" and "openvino": where they are
            installed; "eager"; "auto": the fastest of them that is there. On a GPU "torch" and "eager" are left.
        rewrite: apply the exact rewrites, Winograd's form of convolutions among them.
        full: scores at full resolution, as ``module(x)`` gives them; otherwise at a quarter where the network offers
            them.
        threads: of the processor; None: as many as torch uses.
        cache_dir: a folder for compiled code that nobody else can enter; None: one in the user's home.

    Raises:
        InputError: the file, size, precision or folder cannot be used.
        Unavailable: the backend that was asked for cannot be used.
    """
    device = torch.device(device)
    check_precision(precision, device)
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; there are {', '.join(BACKENDS)}")
    if device.type == "cpu":
        keep_memory()
    cache = Cache(cache_dir)
    module = source if isinstance(source, nn.Module) else open_weights(source, cache)
    card = card_of(module)
    size = size or card.input_size
    if size is None:
        raise InputError("the network says nothing of an input size; give one")
    card.sizes.check(*size)
    module = rewritten(module.eval()) if rewrite else module.eval()
    images = 1 if device.type == "cpu" else batch
    threads = threads or torch.get_num_threads()
    request = Request(module, card, device, precision, size, images, threads, cache, rewrite)
    quarter = card.stride == QUARTER and not full
    name, run, notes = _built(request, backend)
    return Engine(name, tuple(notes), request, quarter, rewrite, run)


def _built(request: Request, backend: str) -> tuple[str, Run, list[str]]:
    """The backend that is taken, ready to run, and notes about those that were wanted."""
    builders = BUILDERS if request.device.type == "cpu" else GPU_BUILDERS
    if backend != "auto" and backend not in builders:
        raise Unavailable(f"backend {backend} is for the processor; a GPU has {' and '.join(GPU_BUILDERS)}")
    wanted = list(builders) if backend == "auto" else [backend, *([FALLBACK] if backend == "torch" else [])]
    reasons = []
    for name in wanted:
        try:
            run = builders[name](request)
        except Unavailable as error:
            reasons.append(f"backend {name} cannot be used: {error}")
        else:
            return name, run, [f"{reason}; {name} runs instead" for reason in reasons] if name == FALLBACK else []
    raise Unavailable(reasons[0])


def open_weights(path: str | os.PathLike[str], cache: Cache, *, caffe_faithful: bool = False) -> nn.Module:
    """The network in a file, see :func:`pytorch_icnet.load`.

    An ICNet's weights are kept in the cache as safetensors, which open many times faster than a caffemodel.
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file() or checkpoints.kind_of(path) == "safetensors":
        return checkpoints.load(path, caffe_faithful=caffe_faithful)
    kept = cache.file(f"weights-{checkpoints.Provenance.of(path).sha256[:32]}.safetensors")
    if kept.exists():
        return checkpoints.load(kept, caffe_faithful=caffe_faithful)
    checkpoint = checkpoints.read_checkpoint(path)
    if checkpoint.architecture == checkpoints.ICNET:
        with suppress(InputError):  # of a cache that cannot be written
            checkpoints.write_checkpoint(kept, checkpoint)
    return checkpoint.network(caffe_faithful=caffe_faithful)
