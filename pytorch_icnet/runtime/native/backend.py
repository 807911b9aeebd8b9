"""The kernels as a backend."""

from __future__ import annotations

from threading import Lock

import torch

from ..cache import Unavailable
from ..request import Request, Run
from ..rewritten import RewrittenICNet
from .compiler import instructions, library
from .network import icnet_program


def build(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`.

    Raises:
        Unavailable: the network is not a rewritten ICNet, or this machine, size or precision will not do.
    """
    module = request.module
    if request.device.type != "cpu":
        raise Unavailable(f"it computes on the processor, not on {request.device}")
    chosen = instructions(request.precision)
    if not isinstance(module, RewrittenICNet):
        raise Unavailable("it runs the rewritten ICNet and nothing else")
    program = icnet_program(library(request.cache, chosen), module, request.size, chosen.formats[request.precision])
    program.build(request.threads)
    shape = (module.num_classes, (request.size[0] + 3) // 4, (request.size[1] + 3) // 4)
    lock = Lock()

    def run(x: torch.Tensor) -> torch.Tensor:
        x, scores = x.contiguous(), torch.empty(1, *shape)
        with lock:
            program.run(x[0], scores[0], request.threads)
        return scores

    return run
