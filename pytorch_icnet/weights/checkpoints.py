"""Reading ICNet and its variants from any file that holds one, told apart by its content; writing safetensors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from converter.export.safetensors import CAFFE, METADATA_KEY, graph_of, load_state, save_state
from converter.record import net_of
from converter.state_dict import load_strict
from converter.summary import outputs_of
from icnet_common.errors import InputError, WeightsError
from icnet_common.files import reading
from prototxt import read_weights

from .. import variants
from ..card import ModelCard
from ..icnet import INPUT_SIZE, ICNet, folded
from ..pyramid import Pyramid
from ..variants import semseg
from . import torch_files
from .caffe import state_of, translate_icnet
from .known import Provenance

__all__ = ["ICNET", "Checkpoint", "Provenance", "icnet", "kind_of", "load", "read_checkpoint", "write_checkpoint"]

ICNET = "icnet"
"""``architecture`` of Caffe's net; the variants' are the keys of :data:`pytorch_icnet.variants.FAMILIES`."""


@dataclass
class Checkpoint:
    """The state dict of an ICNet, under Caffe's layer names, or of a relative, under its own; what belongs to it."""

    state: dict[str, torch.Tensor]
    provenance: Provenance
    pyramid: Pyramid | None = None
    input_size: tuple[int, int] = INPUT_SIZE
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        """:data:`ICNET`, or the family of a relative, by keys and shapes."""
        family = variants.family_of(self.state)
        return ICNET if family is None else family.FAMILY

    def network(self, *, aux: bool = False, caffe_faithful: bool = False) -> nn.Module:
        """The net of these weights, as published and in eval mode.

        Args:
            aux: see :meth:`model`; variants have the auxiliary heads of their file.
            caffe_faithful: of pytorch-semseg's and Supervisely's weights, the net with Caffe's stride.

        Raises:
            WeightsError: keys are missing or unknown, or shapes disagree.
            InputError: ``caffe_faithful`` for other weights.
        """
        if caffe_faithful and self.architecture != semseg.FAMILY:
            raise InputError(
                f"{self.provenance.file}: only pytorch-semseg's and Supervisely's ICNets have a Caffe-faithful form, "
                f"but this is {variants.NAMES.get(self.architecture, 'ICNet')}"
            )
        try:
            relative: Any = variants.build(self.state, caffe_faithful=caffe_faithful)
        except WeightsError as error:
            raise WeightsError(f"{self.provenance.file}: {error}") from error
        if relative is None:
            return self.model(aux=aux)
        relative.card = self._card(relative.card)
        return relative.eval()  # type: ignore[no-any-return]

    def model(self, *, aux: bool = False) -> ICNet:
        """Caffe's net of these weights, in eval mode; its form, classes and channels follow from the shapes.

        Args:
            aux: with the auxiliary heads, which are left out otherwise; random where the file has none.

        Raises:
            WeightsError: keys are missing or unknown, or shapes disagree. Or of a relative.
        """
        state = self.state
        if self.architecture != ICNET:
            name = variants.NAMES[self.architecture]
            raise WeightsError(f"{self.provenance.file}: holds {name}, not Caffe's; pytorch_icnet.load reads it")
        if "conv6_cls.weight" not in state and "conv5_4_k1.weight" not in state:
            raise WeightsError(f"{self.provenance.file}: {variants.describe_mismatch(state)}")
        merged = not any("/bn." in key for key in state)
        channels = {key.removesuffix(".weight"): value.shape[0] for key, value in state.items() if value.dim() == 4}
        model = ICNet(
            channels.get("conv6_cls", 19),
            merged,
            pyramid=self.pyramid,
            aux=aux,
            channels={name: count for name, count in channels.items() if not name.startswith("conv6_")},
        )
        heads = ("conv6_sub2.", "conv6_sub4.")
        if not aux:
            state = {key: value for key, value in state.items() if not key.startswith(heads)}
        elif not any(key.startswith(heads) for key in state):
            state = {**state, **{key: value for key, value in model.state_dict().items() if key.startswith(heads)}}
        load_strict(model, state, f"{self.provenance.file}: not the weights of an ICNet")
        model.card = self._card(model.card)
        return model

    def _card(self, card: ModelCard) -> ModelCard:
        return dataclasses.replace(card, input_size=self.input_size, provenance=self.provenance)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The ICNet or relative in a caffemodel (binary or HDF5), a safetensors file or a torch checkpoint, by content.

    Raises:
        InputError: no such file, or not an ICNet; one line that says what it is and what to do.
    """
    path = Path(path)
    kind = kind_of(path)
    if kind == "torch":
        state = torch_files.read_state(path)
        return Checkpoint(state, Provenance.of(path), input_size=_input_size(state))
    if kind == "safetensors":
        return _of_safetensors(path, *load_state(path))
    blobs = read_weights(path)
    return Checkpoint(state_of(translate_icnet(path, blobs), blobs), Provenance.of(path))


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a safetensors file, whole or not at all, with the provenance in its metadata."""
    metadata = {
        "architecture": checkpoint.architecture,
        "provenance": checkpoint.provenance.as_data(),
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


def load(path: str | os.PathLike[str], *, caffe_faithful: bool = False) -> nn.Module:
    """The network in any supported file, told apart by its content, as published and in eval mode.

    ``forward(x)`` gives the tensor that the published net gives as its first output; ``card`` is its
    :class:`~pytorch_icnet.card.ModelCard`. Of a safetensors file with any other Caffe net it is the graph that
    :func:`converter.load_caffe` gives, whose ``forward`` may take and give several tensors.

    Args:
        path: a caffemodel, a safetensors file or a torch checkpoint.
        caffe_faithful: of pytorch-semseg's and Supervisely's weights, the net with Caffe's stride; other files are
            refused.

    Raises:
        InputError: the file cannot be used.
    """
    path = Path(path)
    if kind_of(path) != "safetensors":
        return read_checkpoint(path).network(caffe_faithful=caffe_faithful)
    state, own = load_state(path)
    if own.get("architecture") != CAFFE:
        return _of_safetensors(path, state, own).network(caffe_faithful=caffe_faithful)
    if caffe_faithful:
        raise InputError(f"{path}: a net of Caffe, which has no other form")
    graph = graph_of(state, own, str(path))
    net = net_of(graph)
    sizes = [(shape[2], shape[3]) for shape in net.inputs.values() if len(shape) == 4]
    channels = [shape[1] for shape in outputs_of(net).values() if shape is not None and len(shape) > 1]
    try:
        provenance = Provenance.from_data(graph.meta["provenance"])
    except ValueError:  # of a file that another program wrote
        provenance = None
    card = ModelCard(CAFFE, next(iter(channels), None), next(iter(sizes), None), provenance=provenance)
    return CaffeNetwork(graph, card)


class CaffeNetwork(fx.GraphModule):
    """The graph of any net of Caffe's, with its card, which copies keep as torch.fx keeps ``meta``."""

    def __init__(self, graph: fx.GraphModule, card: ModelCard) -> None:
        super().__init__(graph, graph.graph, type(graph).__name__)
        self.meta.update({**graph.meta, "card": card})
        self.eval()

    @property
    def card(self) -> ModelCard:
        """What belongs to the net besides its weights."""
        card: ModelCard = self.meta["card"]
        return card


def kind_of(path: Path) -> str:
    """What the first bytes of a file say that it is: ``"torch"``, ``"safetensors"`` or something else, ``""``."""
    with reading(path):
        with path.open("rb") as stream:
            head = stream.read(16)
        if not head:
            raise WeightsError(f"{path}: an empty file; get it again")
        if head[:2] == b"PK" or torch_files.is_legacy(head):
            return "torch"
        return "safetensors" if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size else ""


def _input_size(state: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    family = variants.family_of(state)
    return INPUT_SIZE if family is None else family.INPUT_SIZE


def _of_safetensors(path: Path, state: dict[str, torch.Tensor], own: Mapping[str, Any]) -> Checkpoint:
    if own.get("architecture") == CAFFE:
        raise WeightsError(f"{path}: holds another net than ICNet; pytorch_icnet.load reads it")
    try:
        provenance = Provenance.from_data(own["provenance"]) if "provenance" in own else Provenance.of(path)
        size = tuple(int(n) for n in own.get("input_size", _input_size(state)))
        pyramid = own.get("pyramid")
        pyramid = None if pyramid is None else {str(k): tuple(int(n) for n in v) for k, v in pyramid.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: its metadata {METADATA_KEY!r} cannot be understood: {error}") from error
    if len(size) != 2:
        raise WeightsError(f"{path}: its metadata give the input size {size}, expected (height, width)")
    return Checkpoint(state, provenance, pyramid, (size[0], size[1]))
