"""A state dict as a torch checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from icnet_common.files import atomic_write


def save_pth(path: str | os.PathLike[str], state: Mapping[str, torch.Tensor]) -> None:
    """Write a plain dict of tensors, which ``torch.load(path, weights_only=True)`` reads; whole or not at all.

    Keys that are one parameter stay one: torch stores and restores their memory once.

    Args:
        path: the file.
        state: keys to tensors, as ``state_dict()`` gives them.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as stream:  # a stream, lest the file's name goes into it
        torch.save({key: value.detach() for key, value in state.items()}, stream)
