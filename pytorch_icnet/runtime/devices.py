"""Devices to compute on, by name."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from icnet_common.errors import InputError


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
