"""A Caffe net as a ``torch.fx.GraphModule``: the plain graph, as the text says."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Iterable

from torch import fx, nn

from prototxt import Net, read_net

from .match import Weights
from .names import argument_name, module_name
from .record import remember
from .wiring import Wire, Wiring, wire

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
    graph = translate(net, Weights() if caffemodel is None else Weights.read(caffemodel, lenient=lenient))
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
