"""The network on an NVIDIA GPU: compiled where Triton is there, and replayed as one CUDA graph.

Not measured: no GPU was at hand when this was written.
"""

from __future__ import annotations

import importlib.util
import os
from threading import Lock

import torch

from .cache import Unavailable
from .precision import arithmetic
from .request import Request, Run

_WARM_UP = 3
"""Passes before the recording, in which libraries choose their algorithms and allocate."""


def build(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: the device is no GPU, or Triton is missing.
    """
    if request.device.type != "cuda":
        raise Unavailable("it is for GPUs")
    if importlib.util.find_spec("triton") is None:
        raise Unavailable("triton is not installed")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(request.cache.file("inductor")))
    module = torch.compile(request.scores(), dynamic=False, mode="max-autotune-no-cudagraphs")
    image, lock = request.example(), Lock()
    with torch.cuda.device(request.device), torch.inference_mode(), arithmetic(request.precision):
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                module(image)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = module(image)

    def run(x: torch.Tensor) -> torch.Tensor:
        with lock, torch.cuda.device(request.device):
            image.copy_(x, non_blocking=True)
            graph.replay()
            result: torch.Tensor = scores.clone()
        return result

    return run
