"""In which arithmetic a network computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from icnet_common.errors import InputError

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Names, and the type of weights and activations. fp32 is strict: 24 bits; tf32 multiplies with 11 on NVIDIA's GPUs."""


def check(precision: str, device: torch.device) -> None:
    """Raise InputError unless ``device`` can compute so."""
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown; there are {', '.join(PRECISIONS)}")
    if precision == "tf32" and device.type != "cuda":
        raise InputError("--precision tf32 needs a GPU of NVIDIA")


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Let matrix products and convolutions on the GPU use TF32 where, and only where, ``precision`` is "tf32"."""
    allowed = precision == "tf32"
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
