"""A graph as statements: each ends in a variable, and an activation stands with the layer before it."""

from __future__ import annotations

import keyword
import operator
import re
from dataclasses import dataclass, field
from itertools import groupby

from torch import fx

ACTIVATIONS = ("BNLL", "ELU", "HardSwish", "Mish", "PReLU", "ReLU", "ReLU6", "Sigmoid", "Softmax", "Swish", "TanH")
NORMALISATIONS = ("BN", "BNData", "BatchNorm", "Scale", "Bias", "LRN")
SIMPLE = ("AbsVal", "Dropout", "Exp", "Log", "Power", "SpatialDropout", "Threshold")
FOLLOWERS = frozenset(ACTIVATIONS + NORMALISATIONS + SIMPLE)
"""Types that are written around the layer before them, where nothing else reads that layer's top."""

PASSING = "x"
"""The variable of values that are read once, right away."""

MOST_TOGETHER = 4
"""Layers in one statement."""

_STEMS = tuple(map(re.compile, (r"[^/]*?\d+[a-z]?(_\d+(?=[_/]|$))?|[^/]+", r"[^/]*?\d+|[^/]+")))
"""What names of one stage begin with: finely ``conv2_1`` of ``conv2_1_3x3``, coarsely ``conv2``."""


@dataclass
class Statement:
    """Layers that end in one variable, or one layer with a variable for each of its tops.

    Attributes:
        nodes: the layers, in the order in which they run.
        tops: the nodes whose values are the variables; None for a top that nothing reads.
        is_tuple: the layer gives a tuple of tops, even if it is one.
    """

    nodes: list[fx.Node]
    tops: list[fx.Node | None]
    is_tuple: bool = False

    @property
    def inputs(self) -> list[fx.Node]:
        """The nodes whose values the first layer reads, in order."""
        return [node for node in self.nodes[0].args if isinstance(node, fx.Node)]


def statements(graph: fx.GraphModule) -> list[Statement]:
    """The layers of ``graph`` as statements, in the order in which they run."""
    found: list[Statement] = []
    of: dict[fx.Node, Statement] = {}
    for node in graph.graph.nodes:
        if node.op != "call_module":
            continue
        before = of.get(node.all_input_nodes[0]) if len(node.args) == 1 else None
        if before is not None and _follows(node, before):
            before.nodes.append(node)
            before.tops = [node]
        else:
            before = Statement([node], *_tops(node))
            found.append(before)
        of[node] = before
    return found


def _follows(node: fx.Node, before: Statement) -> bool:
    source = node.all_input_nodes[0]
    return (
        node.meta.get("caffe_type") in FOLLOWERS
        and before.tops == [source]
        and len(source.users) == 1
        and len(before.nodes) < MOST_TOGETHER
    )


def _tops(node: fx.Node) -> tuple[list[fx.Node | None], bool]:
    """The node itself, or for a module that returns a tuple the nodes that take its items; whether it is one."""
    items = {user.args[1]: user for user in node.users if user.target is operator.getitem}
    if not items:
        return [node], False
    return [items.get(place) for place in range(len(items))], True


def paragraphs(found: list[Statement]) -> list[list[Statement]]:
    """Statements of the same stage together, by the beginnings of their names."""
    finest = max(_STEMS, key=lambda stem: sum(len(run) > 1 for run in _runs(found, stem)))
    grouped: list[list[Statement]] = []
    for run in _runs(found, finest):
        if grouped and len(run) == 1:
            grouped[-1] += run
        else:
            grouped.append(run)
    return grouped


def _runs(found: list[Statement], stem: re.Pattern[str]) -> list[list[Statement]]:
    def beginning(statement: Statement) -> str:
        match = stem.match(caffe_name(statement.nodes[0]))
        return match[0] if match else ""

    return [list(run) for _, run in groupby(found, beginning)]


def caffe_name(node: fx.Node) -> str:
    """The layer's name, or the module's where a rewrite has taken it away."""
    return str(node.meta.get("caffe", node.target))


def blob_name(node: fx.Node) -> str:
    """The blob that holds the node's value."""
    if node.op == "placeholder":
        return str(node.target)
    producer, place = (node.args[0], node.args[1]) if node.target is operator.getitem else (node, 0)
    assert isinstance(producer, fx.Node) and isinstance(place, int)
    record = producer.meta.get("caffe_layer")
    return str(record.layer.tops[place]) if record else caffe_name(node)


@dataclass
class Variables:
    """Names for values: ``x`` for one that the next statement alone reads, else the blob's own.

    Args:
        reserved: names that code uses otherwise.
        reads: for each node the numbers of the statements that read its value.
    """

    reserved: frozenset[str]
    reads: dict[fx.Node, list[int]]
    names: dict[fx.Node, str] = field(default_factory=dict)
    _holders: dict[str, fx.Node] = field(default_factory=dict)

    def give(self, node: fx.Node, place: int, *, alone: bool) -> str:
        """The variable for the value of ``node``, which statement number ``place`` makes, perhaps ``alone``."""
        passing = alone and self.reads[node] == [place + 1]
        wanted = PASSING if passing else variable_name(blob_name(node), self.reserved | {PASSING})
        name, number = wanted, 2
        while name in self._holders and max(self.reads[self._holders[name]], default=place) > place:
            name, number = f"{wanted}_{number}", number + 1
        self._holders[name] = node
        self.names[node] = name
        return name


def variable_name(blob: str, reserved: frozenset[str]) -> str:
    """A blob's name as a variable."""
    name = re.sub(r"\W", "_", blob, flags=re.ASCII)
    if not name.isidentifier():
        name = f"_{name}"
    while keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in reserved:
        name += "_"
    return name
