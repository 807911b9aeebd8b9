"""A Caffe net as a ``torch.fx.GraphModule``: the plain graph, as the text says.

A file's blobs are matched with the net's layers as ``Net::CopyTrainedLayersFrom`` does, made strict.
"""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import fx, nn

from prototxt import Layer, Net, read_net, read_weights

from .blobs import Blobs, SharedParameter
from .errors import WeightsMismatchError
from .names import argument_name, module_name
from .record import remember
from .wiring import Wire, WiredLayer, Wiring, wire

PathOrText = str | os.PathLike[str]


class FillerWarning(UserWarning):
    """Some weights are made by Caffe's fillers and not read from a file."""


def load_caffe(
    prototxt: PathOrText | Net,
    caffemodel: str | os.PathLike[str] | None = None,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Iterable[str] = (),
    lenient: bool = False,
) -> fx.GraphModule:
    """Translate a net and its weights into the plain graph: no folding, no rewrites, in eval mode.

    ``forward`` takes the tops of ``input:`` fields, Input and data layers in file order, float32 in the shapes of the
    text (or others, where the layers allow), and returns the net's one output, or a dict from blob name to tensor when
    there are several. ``graph.meta["match"]`` tells which layers the file gave, ``node.meta["caffe"]`` the Caffe name
    of each node's layer or input blob.

    Args:
        prototxt: path, text, or a net already read.
        caffemodel: weights, binary or HDF5. None: Caffe's fillers, seeded by layer, with a :class:`FillerWarning`.
        phase, level, stages: choose layers by their include and exclude rules.
        lenient: as Caffe does without a word, leave layers that the file lacks to their fillers; a
            :class:`FillerWarning` names them.

    Raises:
        PrototxtError, NetError: what is wrong with the net, with file and line.
        WeightsError, WeightsMismatchError: what is wrong with the weights; names every layer that does not fit.
    """
    net = prototxt if isinstance(prototxt, Net) else read_net(prototxt, phase, level, tuple(stages))
    blobs = None if caffemodel is None else read_weights(caffemodel)
    graph = translate(net, Weights(blobs, "" if caffemodel is None else os.fspath(caffemodel), lenient=lenient))
    if filled := graph.meta["match"].filled:
        message = f"{net.source}: weights made by fillers, not read: {', '.join(filled)}"
        warnings.warn(message, FillerWarning, stacklevel=2)
    return graph


def translate(net: Net, weights: Weights) -> fx.GraphModule:
    """The plain graph of ``net`` with ``weights``; see :func:`load_caffe`, which reads both from files."""
    wiring = wire(net, weights.of)
    match = weights.match(wiring)
    graph = build(wiring)
    graph.meta["match"] = match
    return graph


def build(wiring: Wiring) -> fx.GraphModule:
    """The graph module of a connected net; parameters tied by ``param { name }`` are one parameter."""
    root = nn.Module()
    graph = fx.Graph()
    nodes: dict[Wire, fx.Node] = {}
    arguments: set[str] = set()
    for index, step in enumerate(wiring.steps):
        if step.module is None:
            for top, blob in enumerate(step.layer.tops):
                nodes[Wire(index, top)] = _named(graph.placeholder(argument_name(blob, arguments)), blob)
            continue
        if not step.layer.tops:
            continue  # Silence and its like give nothing
        target = module_name(step.name)
        root.add_module(target, step.module)
        node = _named(graph.call_module(target, tuple(nodes[wire] for wire in step.bottoms)), step.name)
        node.meta["caffe_type"] = step.layer.type
        if not step.returns_tuple:
            nodes[Wire(index, 0)] = node
            continue
        for top, blob in enumerate(step.layer.tops):
            item = graph.call_function(operator.getitem, (node, top))
            nodes[Wire(index, top)] = _named(item, step.name if top == 0 else f"{step.name}:{blob}")
    outputs = {name: nodes[wire] for name, wire in wiring.outputs.items()}
    graph.output(next(iter(outputs.values())) if len(outputs) == 1 else outputs)
    module = fx.GraphModule(root, graph, class_name="CaffeNet")
    remember(module, wiring)
    return module.eval()


def _named(node: fx.Node, name: str) -> fx.Node:
    node.meta["caffe"] = name
    return node


@dataclass(frozen=True)
class Match:
    """Which layers took their weights from the file.

    Attributes:
        matched: layers (unique names) whose blobs come from the file.
        filled: layers some of whose blobs come from fillers.
        unused: layers of the file that the net does not have, or that have no weights there.
    """

    matched: tuple[str, ...]
    filled: tuple[str, ...]
    unused: tuple[str, ...]


class Weights:
    """The blobs of a file, handed out by layer name.

    As in Caffe a name belongs to the first layer of the net that has it, and a layer's type is ignored.

    Args:
        blobs: layer name to blobs; None: every layer gets its fillers.
        source: the file, for messages.
        lenient: layers that the file lacks get their fillers.
    """

    def __init__(
        self,
        blobs: Mapping[str, Sequence[NDArray[Any]]] | None = None,
        source: str = "",
        *,
        lenient: bool = False,
    ) -> None:
        self.blobs = blobs
        self.source = source
        self.lenient = lenient
        self._given: set[str] = set()
        self._owners: dict[str, SharedParameter] = {}

    def of(self, layer: Layer) -> Blobs:
        """The blobs for ``layer``, the next of the net."""
        stored: Sequence[NDArray[Any]] | None = None
        if self.blobs is not None and layer.name not in self._given:
            stored = self.blobs.get(layer.name)
        self._given.add(layer.name)
        if stored is None and layer.blobs:
            stored = layer.blobs
        absent = self.blobs is not None and stored is None and not self.lenient
        return Blobs(layer.name, stored, meta=absent, specs=layer.param_specs, owners=self._owners)

    def match(self, wiring: Wiring) -> Match:
        """What was matched, once the net is built.

        Raises:
            WeightsMismatchError: names every layer without weights, with a wrong shape or a wrong number of blobs.
        """
        weighted = [step for step in wiring.steps if step.blobs.shapes]
        absent = [step.name for step in weighted if step.blobs.meta and not _all_shared(step, wiring)]
        wrong = [f"{step.name!r} ({'; '.join(step.blobs.problems)})" for step in wiring.steps if step.blobs.problems]
        if absent or wrong:
            parts = []
            if absent:
                parts.append(f"{len(absent)} of {len(weighted)} layers have no weights in it: {', '.join(absent)}")
            if wrong:
                parts.append(f"{len(wrong)} do not fit: {', '.join(wrong)}")
            raise WeightsMismatchError(f"{self.source}: not the weights of {wiring.net.source}: {'; '.join(parts)}")
        matched = tuple(step.name for step in weighted if step.blobs.stored is not None)
        filled = tuple(step.name for step in weighted if step.blobs.filled)
        unused = tuple(name for name in self.blobs or () if name not in matched)
        return Match(matched, filled, unused)


def _all_shared(step: WiredLayer, wiring: Wiring) -> bool:
    """Whether another layer owns every blob of ``step``, so that the file need not repeat them."""
    names = [name for name in step.blobs.shared_names if name]
    if len(names) < len(step.blobs.shapes):
        return False
    others = (other for other in wiring.steps if other is not step and other.blobs.stored is not None)
    owned = {name for other in others for name in other.blobs.shared_names}
    return set(names) <= owned
