"""The network as PyTorch runs it layer by layer: nothing to compile, on every device."""

from __future__ import annotations

import torch

from .precision import arithmetic
from .request import Request, Run


def build(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`."""
    module = request.scores()

    def run(x: torch.Tensor) -> torch.Tensor:
        with arithmetic(request.precision):
            scores: torch.Tensor = module(x)
        return scores

    return run
