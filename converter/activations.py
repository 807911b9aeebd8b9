"""The value of every layer's top, by Caffe's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn


def activations(graph: nn.Module, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run ``graph`` and keep the value of each layer's top right after that layer ran.

    Args:
        graph: a converted graph, or a module written by hand whose children carry Caffe's layer names and whose
            ``input_names`` are its input blobs, such as :class:`pytorch_icnet.ICNet`.
        inputs: as ``forward`` takes them.

    Returns:
        From the layer's name to its first top, from ``"layer:top"`` to each further one; a repeated layer name is
        ``"name#2"``. Inputs are under their blob names and come first; layers follow in the order in which they ran.
    """
    with torch.no_grad():
        if isinstance(graph, fx.GraphModule):
            return _of_graph(graph, inputs)
        return _of_children(graph, inputs)


def _of_graph(graph: fx.GraphModule, inputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    values: dict[str, torch.Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if "caffe" in n.meta and isinstance(value, torch.Tensor):
                values[n.meta["caffe"]] = value
            return value

    Recorder(graph, garbage_collect_values=False).run(*inputs)
    return values


def _of_children(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
    values: dict[str, torch.Tensor] = dict(zip(getattr(module, "input_names", ()), inputs, strict=False))

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            values[name] = output

        return hook

    handles = [child.register_forward_hook(keep(name)) for name, child in module.named_children()]
    try:
        module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return values
