"""Devices to compute on, by name, and in which arithmetic."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from icnet_common.errors import InputError

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Names, and the type of weights and activations. fp32 is strict: 24 bits; tf32 multiplies with 11 on NVIDIA's GPUs."""


def find_device(name: str) -> torch.device:
    """The torch device called ``name`` ("auto": the GPU if there is one, else "cpu").

    Raises:
        InputError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--device {name}: cannot be used here ({reason}); try --device cpu") from error
    return found


def device_name(target: torch.device) -> str:
    """The GPU's or the processor's name."""
    if target.type == "cuda":
        return torch.cuda.get_device_name(target)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check_precision(precision: str, device: torch.device) -> None:
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
