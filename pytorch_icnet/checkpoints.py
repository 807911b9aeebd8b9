"""Reading ICNet from any file that holds one, told apart by its content, and writing it as safetensors."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from converter.export.safetensors import CAFFE, METADATA_KEY, graph_of, load_state, save_state
from converter.record import net_of
from converter.summary import outputs_of
from prototxt import read_weights
from prototxt.errors import InputError, WeightsError

from .caffe_weights import state_of, translate_icnet
from .icnet import INPUT_SIZE, ICNet, folded
from .known_weights import by_md5
from .pyramid import Pyramid


@dataclass(frozen=True)
class Provenance:
    """Where weights come from.

    Attributes:
        file: name of the original file, without folders.
        md5, sha256: of the original file, hexadecimal.
        known: name of the published file with this md5, or None.
    """

    file: str
    md5: str
    sha256: str
    known: str | None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Provenance:
        """Read a file once and take its sums."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        with Path(path).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                md5.update(chunk)
                sha256.update(chunk)
        known = by_md5(md5.hexdigest())
        return cls(Path(path).name, md5.hexdigest(), sha256.hexdigest(), known.file if known else None)


@dataclass
class Checkpoint:
    """An ICNet's state dict, under Caffe's layer names, and what belongs to it."""

    state: dict[str, torch.Tensor]
    provenance: Provenance
    pyramid: Pyramid | None = None
    input_size: tuple[int, int] = INPUT_SIZE
    notes: dict[str, Any] = field(default_factory=dict)

    def model(self, *, aux: bool = False) -> ICNet:
        """The net of these weights, in eval mode; its form, classes and channels follow from the shapes.

        Args:
            aux: with the auxiliary heads, which are left out otherwise; random where the file has none.

        Raises:
            WeightsError: keys are missing or unknown, or shapes disagree; names all of them.
        """
        state = self.state
        merged = not any("/bn." in key for key in state)
        channels = {key.removesuffix(".weight"): value.shape[0] for key, value in state.items() if value.dim() == 4}
        model = ICNet(
            channels.get("conv6_cls", 19),
            merged,
            pyramid=self.pyramid,
            aux=aux,
            channels={name: count for name, count in channels.items() if not name.startswith("conv6_")},
        )
        heads = {key for key in state if key.startswith(("conv6_sub2.", "conv6_sub4."))}
        if not aux:
            state = {key: value for key, value in state.items() if key not in heads}
        elif not heads:
            fresh = model.state_dict()
            state = {
                **state,
                **{key: fresh[key] for key in fresh if key.startswith(("conv6_sub2.", "conv6_sub4."))},
            }
        _load(model, state, self.provenance.file)
        model.input_size = self.input_size
        model.provenance = dataclasses.asdict(self.provenance)
        return model.eval()


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The ICNet in a caffemodel (binary or HDF5), a safetensors file or a torch checkpoint, by its content.

    Raises:
        InputError: no such file, or not an ICNet; one line that says what it is and what to do.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "zip":
        return _read_torch(path)
    if kind == "safetensors":
        return _of_safetensors(path, *load_state(path))
    blobs = read_weights(path)
    return Checkpoint(state_of(translate_icnet(path, blobs), blobs), Provenance.of(path))


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a safetensors file, whole or not at all, with the provenance in its metadata."""
    metadata = {
        "architecture": "icnet",
        "provenance": dataclasses.asdict(checkpoint.provenance),
        "input_size": checkpoint.input_size,
        "pyramid": None if checkpoint.pyramid is None else {k: list(v) for k, v in checkpoint.pyramid.items()},
        **checkpoint.notes,
    }
    save_state(path, checkpoint.state, metadata)


def icnet(
    weights: str | os.PathLike[str] | None = None,
    num_classes: int = 19,
    merged: bool = True,
    *,
    pyramid: Pyramid | None = None,
    width: float = 1.0,
    aux: bool = False,
) -> ICNet:
    """An ICNet, in eval mode with weights, in train mode without.

    Args:
        weights: a caffemodel, a safetensors file or a torch checkpoint of an ICNet; classes and channels then follow
            from it. None: random weights.
        num_classes: of the scores, without ``weights``.
        merged: with biases in place of batch normalisation. Weights with batch normalisation are folded for it.
        pyramid: windows other than the default, see :class:`ICNet`.
        width: factor on the number of channels, without ``weights``.
        aux: with the auxiliary heads of training.

    Raises:
        InputError: the file cannot be used, or is merged where ``merged=False`` asks for batch normalisation.
    """
    if weights is None:
        return ICNet(num_classes, merged, pyramid=pyramid, width=width, aux=aux)
    checkpoint = read_checkpoint(weights)
    if pyramid is not None:
        checkpoint.pyramid = pyramid
    model = checkpoint.model(aux=aux)
    if model.merged and not merged:
        raise InputError(f"{weights}: holds merged weights; batch normalisation cannot be taken out of them again")
    return folded(model) if merged else model


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The network in any supported file, told apart by its content, as published and in eval mode.

    ``forward(x)`` gives the tensor that the published net gives. ``num_classes``, ``input_size`` (height, width) and
    ``provenance`` (a dict) are attributes. Of a safetensors file with any other Caffe net it is the graph that
    :func:`converter.load_caffe` gives, whose ``forward`` may take and give several tensors.

    Raises:
        InputError: the file cannot be used.
    """
    path = Path(path)
    if _kind(path) != "safetensors":
        return read_checkpoint(path).model()
    state, own = load_state(path)
    if own.get("architecture") != CAFFE:
        return _of_safetensors(path, state, own).model()
    graph = graph_of(state, own, str(path))
    net = net_of(graph)
    sizes = [shape[2:] for shape in net.inputs.values() if len(shape) == 4]
    channels = [shape[1] for shape in outputs_of(net).values() if shape is not None and len(shape) > 1]
    vars(graph).update(
        input_size=sizes[0] if sizes else None,
        num_classes=channels[0] if channels else None,
        provenance=graph.meta["provenance"],
    )
    return graph


def _kind(path: Path) -> str:
    """What the first bytes of a file say that it is: ``"zip"`` (torch), ``"safetensors"`` or something else, ``""``."""
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
        if head[:2] == b"PK":
            return "zip"
        return "safetensors" if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size else ""
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _of_safetensors(path: Path, state: dict[str, torch.Tensor], own: Mapping[str, Any]) -> Checkpoint:
    if own.get("architecture") == CAFFE:
        raise WeightsError(f"{path}: holds another net than ICNet; pytorch_icnet.load reads it")
    try:
        provenance = Provenance(**own["provenance"]) if "provenance" in own else Provenance.of(path)
        size = tuple(int(n) for n in own.get("input_size", INPUT_SIZE))
        pyramid = own.get("pyramid")
        pyramid = None if pyramid is None else {str(k): tuple(int(n) for n in v) for k, v in pyramid.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: its metadata {METADATA_KEY!r} cannot be understood: {error}") from error
    if len(size) != 2:
        raise WeightsError(f"{path}: its metadata give the input size {size}, expected (height, width)")
    return Checkpoint(state, provenance, pyramid, (size[0], size[1]))


def _read_torch(path: Path) -> Checkpoint:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: holds Python objects other than tensors, which could run code on loading and are refused; "
            "save the state dict alone"
        ) from error
    except (RuntimeError, zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
        if _is_program(path):
            raise WeightsError(
                f"{path}: a program of torch.export, which could run code on loading and is refused; if you trust it, "
                "torch.export.load reads it"
            ) from error
        raise WeightsError(f"{path}: not a whole torch checkpoint: {str(error).splitlines()[0]}") from error
    while isinstance(loaded, Mapping) and (
        inner := next((k for k in ("state_dict", "model_state") if k in loaded), None)
    ):
        loaded = loaded[inner]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsError(f"{path}: holds no state dict of tensors")
    return Checkpoint({str(key).removeprefix("module."): value for key, value in loaded.items()}, Provenance.of(path))


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/archive_format") for name in file.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _load(model: ICNet, state: Mapping[str, torch.Tensor], source: str) -> None:
    expected = model.state_dict()
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(set(expected) - set(state) - optional)
    unknown = sorted(set(state) - set(expected))
    shapes = [
        f"{key} {list(state[key].shape)}, expected {list(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if missing or unknown or shapes:
        parts = [("missing", missing), ("unknown", unknown), ("wrong shapes", shapes)]
        listed = "; ".join(f"{what}: {', '.join(items)}" for what, items in parts if items)
        raise WeightsError(f"{source}: not the weights of an ICNet: {listed}")
    model.load_state_dict({**{key: expected[key] for key in optional}, **state})
