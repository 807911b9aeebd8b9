"""A state dict as a safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from prototxt.errors import InputError
from prototxt.files import whole_file

METADATA_KEY = "pytorch_icnet"
"""The key of our JSON in the file's metadata."""


def save_state(path: str | os.PathLike[str], state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and metadata, whole or not at all.

    Tensors that are one parameter under several keys are stored once, under the first; ``ties`` in the metadata maps
    each further key to it.

    Args:
        path: the file.
        state: keys to tensors.
        metadata: anything JSON can hold; stored under :data:`METADATA_KEY`.

    Raises:
        InputError: the file cannot be written.
    """
    owners: dict[tuple[int, torch.Size], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    ties: dict[str, str] = {}
    for key, value in state.items():
        owner = owners.setdefault((value.data_ptr(), value.shape), key) if value.numel() else key
        if owner == key:
            tensors[key] = value.detach().contiguous()
        else:
            ties[key] = owner
    text = json.dumps({**metadata, "ties": ties} if ties else dict(metadata), sort_keys=True)
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, {"format": "pt", METADATA_KEY: text})
        except SafetensorError as error:
            raise InputError(f"{path}: cannot be written: {error}") from error
