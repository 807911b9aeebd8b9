"""Checkpoints: weights for use, and the state of a training for going on with it."""

from __future__ import annotations

import os
import pickle
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from pytorch_icnet.icnet import INPUT_SIZE
from pytorch_icnet.weights.checkpoints import Checkpoint, Provenance, write_checkpoint

from .build import Network

VERSION = 1


def write_state(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a training's state, whole or not at all: tensors, numbers, texts, lists and dicts of them."""
    with atomic_write(path) as temporary:
        torch.save({"version": VERSION, **state}, temporary)


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`write_state` wrote; nothing in the file is run as code.

    Raises:
        InputError: no such file, or not one of a training.
    """
    try:
        state = torch.load(Path(path), map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: not the state of a training: {reason}") from error
    if not isinstance(state, dict) or state.get("version") != VERSION or "iteration" not in state:
        raise InputError(f"{path}: not the state of a training; --resume takes the last.pt of one")
    return state


def write_weights_file(path: str | os.PathLike[str], model: Network, notes: dict[str, Any]) -> None:
    """Write a net's weights as a safetensors file, which every command takes.

    ``notes`` go into its metadata; the provenance names the file of the weights that the training began with, if any.
    """
    began = model.card.provenance or Provenance(Path(path).name, "", "", None)
    provenance = replace(began, known=None)
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    card = model.card
    write_checkpoint(path, Checkpoint(state, provenance, card.pyramid, card.input_size or INPUT_SIZE, notes))


def generators() -> dict[str, Any]:
    """The state of every global generator of random numbers."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(numbers), gauss],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), has_gauss, cached],
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Set what :func:`generators` gave."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
