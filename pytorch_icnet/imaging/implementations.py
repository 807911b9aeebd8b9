"""Which implementation of pre- and post-processing to use: the results are the same, the speed is not."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module

import torch

IMPLEMENTATIONS = ("plain", "numba", "torch", "triton")
"""The plain one is the reference. numba runs on the processor, Triton on a GPU, and torch where these are missing."""


def choose(form: str | None, device: torch.device, instead: str = "torch") -> str:
    """``form``, or the fastest for data on a device if it is None.

    Args:
        form: what the caller asks for.
        device: where the data is.
        instead: what to use where neither numba nor a GPU of NVIDIA's is.

    Raises:
        ValueError: the form is unknown, is not for that device, or needs a package that is not installed.
    """
    if form is None:
        if device.type == "cuda":
            return "triton" if installed("triton") else "torch"
        return "numba" if device.type == "cpu" and installed("numba") else instead
    if form not in IMPLEMENTATIONS:
        raise ValueError(f"form is one of {', '.join(IMPLEMENTATIONS)}, not {form!r}")
    if form in ("numba", "triton") and not installed(form):
        raise ValueError(f"form {form!r} needs the package {form}, which is not installed")
    if form == "numba" and device.type != "cpu":
        raise ValueError(f"form 'numba' is for the processor, and the data is on {device}")
    if form == "triton" and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"form 'triton' is for a GPU, and the data is on {device}")
    return form


@cache
def installed(package: str) -> bool:
    """Whether a package can be imported, which takes more than its being there: numba refuses some NumPys."""
    try:
        import_module(package)
    except ImportError:
        return False
    return True
