"""State dicts and whole nets as safetensors files, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import fx

from icnet_common.errors import InputError, PrototxtError, WeightsError
from icnet_common.files import atomic_write
from prototxt import Layer, net_text, read_net

from ..blobs import Blobs, Shape, SharedParameter
from ..graph import Match, build
from ..record import net_of
from ..state_dict import load_strict
from ..wiring import wire

METADATA_KEY = "pytorch_icnet"
"""The key of our JSON in the file's metadata."""

CAFFE = "caffe"
"""``architecture`` of a net whose text is in the metadata."""


def save_state(path: str | os.PathLike[str], state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and metadata, whole or not at all.

    Tensors that are one parameter under several keys are stored once, under the first; ``ties`` in the metadata maps
    each further key to it. The metadata, anything JSON can hold, are stored under :data:`METADATA_KEY`.

    Raises:
        InputError: the file cannot be written.
    """
    tensors, ties = untied(state)
    text = json.dumps({**metadata, "ties": ties} if ties else dict(metadata), sort_keys=True)
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, {"format": "pt", METADATA_KEY: text})
        except SafetensorError as error:
            raise InputError(f"{path}: cannot be written: {error}") from error


def untied(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor of ``state`` once, contiguous, and for each further key of one the key under which it is.

    A tensor that is another one in a different shape gets memory of its own.
    """
    owners: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    ties: dict[str, str] = {}
    for key, value in state.items():
        owner = owners.setdefault(value.data_ptr(), key) if value.numel() else key
        if owner == key:
            tensors[key] = value.detach().contiguous()
        elif tensors[owner].shape == value.shape:
            ties[key] = owner
        else:
            tensors[key] = value.detach().clone()
    return tensors, ties


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`save_state` wrote, or any other safetensors file.

    Returns:
        The state, in which tied keys hold the same tensor, and the metadata (empty for files of other programs).

    Raises:
        WeightsError: the file cannot be read, is damaged, or has metadata that make no sense.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            texts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error}); copy or convert it again") from error
    try:
        metadata = json.loads(texts.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its metadata {METADATA_KEY!r} are not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path}: its metadata {METADATA_KEY!r} are not a JSON object")
    ties = metadata.pop("ties", {})
    if not isinstance(ties, dict):
        raise WeightsError(f"{path}: its ties are not a JSON object")
    for key, owner in ties.items():
        if not isinstance(owner, str) or owner not in state or key in state:
            raise WeightsError(f"{path}: its metadata tie {key!r} to {owner!r}, which is not possible")
    return {**state, **{key: state[owner] for key, owner in ties.items()}}, metadata


def save_graph(path: str | os.PathLike[str], graph: fx.GraphModule, provenance: Mapping[str, Any]) -> None:
    """Write a converted net: its state, and in the metadata its text, so that :func:`load_graph` needs nothing else.

    Its batch normalisation may be folded. ``provenance``, where the weights come from, is anything JSON can hold.

    Raises:
        InputError: the graph was rewritten into what no text describes, or the file cannot be written.
    """
    metadata = {"architecture": CAFFE, "provenance": dict(provenance), "prototxt": net_text(net_of(graph))}
    save_state(path, graph.state_dict(), metadata)


def load_graph(path: str | os.PathLike[str]) -> fx.GraphModule:
    """The net of a file that :func:`save_graph` wrote, as :func:`converter.load_caffe` gave it; ties are restored.

    ``graph.meta["provenance"]`` is what the file tells of its origin. Nothing of the file is run as code.

    Raises:
        WeightsError: the file is damaged, holds no such net, or its tensors are not those of its net.
        NetError: what is wrong with its net.
    """
    return graph_of(*load_state(path), str(path))


def graph_of(state: Mapping[str, torch.Tensor], metadata: Mapping[str, Any], source: str) -> fx.GraphModule:
    """The net of what :func:`load_state` read from the file ``source``; see :func:`load_graph`."""
    text, provenance = metadata.get("prototxt"), metadata.get("provenance", {})
    if metadata.get("architecture") != CAFFE or not isinstance(text, str) or not isinstance(provenance, dict):
        raise WeightsError(f"{source}: holds no net in text form; only icnet-convert's files of Caffe nets do")
    room = sum({id(tensor): tensor.numel() for tensor in state.values()}.values())
    try:
        net = read_net(text + "\n")  # with a newline it is a text and never a path
    except PrototxtError as error:
        raise WeightsError(f"{source}: the net in its metadata: {error}") from error
    owners: dict[str, SharedParameter] = {}
    blanks = _Room(room, source)
    wiring = wire(dataclasses.replace(net, source=source), lambda layer: _Blank(layer, owners, blanks))
    graph = build(wiring)
    load_strict(graph, state, f"{source}: its tensors are not those of its net", optional=())
    graph.meta["match"] = Match(tuple(step.name for step in wiring.steps if step.blobs.shapes), (), ())
    graph.meta["provenance"] = provenance
    return graph


@dataclasses.dataclass
class _Room:
    values: int
    source: str


class _Blank(Blobs):
    """Zeros in place of a layer's blobs, in all no more than the file has room for."""

    def __init__(self, layer: Layer, owners: dict[str, SharedParameter], room: _Room) -> None:
        super().__init__(layer.name, specs=layer.param_specs, owners=owners)
        self._room = room

    def _value(self, index: int, shape: Shape, filler: object) -> torch.Tensor:
        self._room.values -= (size := torch.Size(shape).numel())
        if self._room.values < 0:
            blob = f"blob {index} of layer {self.name!r} ({size} values)"
            raise WeightsError(f"{self._room.source}: its net has more weights than its tensors: no room for {blob}")
        return torch.zeros(shape)
