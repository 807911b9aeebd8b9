"""What the passes share: copying a graph, finding a node's module, putting another one in its place."""

from __future__ import annotations

import copy
from itertools import chain

from torch import fx, nn


def copied(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` with nodes and modules of its own, whose tensors are those of ``graph``.

    Passes replace tensors and never write into them, so the original stays as it is and memory is not doubled.
    """
    tensors = chain(graph.parameters(), graph.buffers())
    return copy.deepcopy(graph, {id(tensor): tensor for tensor in tensors})


def module_of(graph: fx.GraphModule, node: object) -> nn.Module | None:
    """The module that ``node`` calls, or None."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return graph.get_submodule(str(node.target))


def only_reader(node: fx.Node) -> fx.Node | None:
    """The one node that reads ``node``'s value, or None where there are several or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def replace_module(graph: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    """Make ``node`` call ``module``, under the name of the module that it called before."""
    graph.add_module(str(node.target), module.train(graph.training))


def remove(graph: fx.GraphModule, node: fx.Node) -> None:
    """Take out a node that nothing reads, and its module where nothing else calls it."""
    target = str(node.target)
    graph.graph.erase_node(node)
    if not any(other.op == "call_module" and other.target == target for other in graph.graph.nodes):
        graph.delete_submodule(target)


def finished(graph: fx.GraphModule) -> fx.GraphModule:
    """``graph`` after its nodes were changed: checked, with its code made anew."""
    graph.graph.lint()
    graph.recompile()
    return graph
