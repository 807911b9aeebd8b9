"""From a checkpoint of PyTorch to a safetensors file or a plain state dict, with what is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from converter.export.pth import save_pth
from converter.export.safetensors import load_state
from icnet_common.errors import InputError

from ..icnet import folded
from ..variants import NAMES
from ..variants.semseg import SemSegICNet, to_icnet
from .checkpoints import ICNET, Checkpoint, kind_of, read_checkpoint, write_checkpoint

FORMATS = ("safetensors", "pth")


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one of PyTorch's, and none of Caffe's; by its first bytes."""
    return kind_of(path) != ""


def convert_checkpoint(
    weights: Path, paths: Mapping[str, Sequence[Path]], *, caffe_faithful: bool = False, fold_bn: bool = False
) -> dict[str, Any]:
    """Write a checkpoint, all of which fits its network, in other formats.

    Args:
        weights: a torch checkpoint or a safetensors file.
        paths: what to write, by one of :data:`FORMATS`; a safetensors file is read again and compared.
        caffe_faithful: turn pytorch-semseg's and Supervisely's weights into Caffe's net, with Caffe's names.
        fold_bn: fold an ICNet's normalisation into its convolutions.

    Returns:
        For JSON: ``provenance``, ``architecture``, ``outputs``, and ``lines`` for people.

    Raises:
        InputError: the file cannot be used, or not in this way; nothing is written then.
    """
    if unknown := [name for name in paths if name not in FORMATS]:
        raise InputError(
            f"--to {', '.join(unknown)}: for Caffe's nets; a checkpoint can be written as {', '.join(FORMATS)}"
        )
    checkpoint = read_checkpoint(weights)
    lines = [f"{weights.name}: {_name(checkpoint)}, all of {len(checkpoint.state)} tensors in their places"]
    checkpoint = _fitting(checkpoint, caffe_faithful)
    if fold_bn:
        if checkpoint.architecture != ICNET:
            raise InputError(f"{weights}: --fold-bn is for ICNet itself, and this is {_name(checkpoint)}")
        merged = folded(checkpoint.model(aux=_has_heads(checkpoint)))
        checkpoint = dataclasses.replace(checkpoint, state=merged.state_dict())
    for name, (path, *_) in paths.items():
        _write(name, path, checkpoint)
        lines.append(f"written  {path}: {_name(checkpoint)}")
    return {
        "provenance": dataclasses.asdict(checkpoint.provenance),
        "architecture": checkpoint.architecture,
        "outputs": [{"format": name, "paths": list(map(str, files))} for name, files in paths.items()],
        "lines": lines,
    }


def _fitting(checkpoint: Checkpoint, caffe_faithful: bool) -> Checkpoint:
    network = checkpoint.network(aux=_has_heads(checkpoint), caffe_faithful=caffe_faithful)
    if isinstance(network, SemSegICNet) and caffe_faithful:
        return dataclasses.replace(checkpoint, state=to_icnet(network).state_dict())
    return checkpoint


def _name(checkpoint: Checkpoint) -> str:
    return NAMES.get(checkpoint.architecture, "ICNet")


def _has_heads(checkpoint: Checkpoint) -> bool:
    return "conv6_sub2.weight" in checkpoint.state


def _write(name: str, path: Path, checkpoint: Checkpoint) -> None:
    if name == "pth":
        save_pth(path, checkpoint.state)
        return
    write_checkpoint(path, checkpoint)
    found, _ = load_state(path)
    for key, value in checkpoint.state.items():
        if not torch.equal(found[key], value):
            raise InputError(f"{path}: read again, {key} is not what it was; the disk may be damaged")
