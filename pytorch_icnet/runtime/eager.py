"""The network as PyTorch runs it layer by layer: nothing to compile, on every device."""

from __future__ import annotations

import ctypes
import functools
import sys

import torch

from .precision import arithmetic
from .request import Request, Run


def build(request: Request) -> Run:
    """See :func:`pytorch_icnet.runtime.engine`."""
    keep_memory()
    module = request.scores()

    def run(x: torch.Tensor) -> torch.Tensor:
        with arithmetic(request.precision):
            scores: torch.Tensor = module(x)
        return scores

    return run


@functools.cache
def keep_memory() -> None:
    """Let the process keep what it frees, as long as it runs, where the C library is GNU's.

    glibc returns large blocks to Linux on every free; the next pass gets them back page by page, zeroed. On the
    activations of a large image that costs more than a tenth of the time.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt"):
        trim_threshold, mmap_max = -1, -4  # malloc.h: M_TRIM_THRESHOLD, M_MMAP_MAX
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
