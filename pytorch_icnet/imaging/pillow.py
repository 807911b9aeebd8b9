"""Pillow, an extra, where a result has to equal another system's drawing or resizing bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icnet_common.errors import InputError

if TYPE_CHECKING:
    from types import ModuleType


def module(name: str, purpose: str) -> ModuleType:
    """``PIL.name``.

    Args:
        name: a submodule, such as ``Image``.
        purpose: what needs it, for the message.

    Raises:
        InputError: Pillow is not installed.
    """
    from importlib import import_module

    try:
        return import_module(f"PIL.{name}")
    except ImportError:
        raise InputError(f"{purpose} needs Pillow: pip install pytorch-icnet[pillow]") from None
