"""The value of every layer's top, by Caffe's names, and how far two sets of them are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

LIMIT = 3e-5
"""Caffe's own float32 noise in ICNet: blobs within this relative difference are as equal as Caffe is with itself."""


@dataclass(frozen=True)
class Difference:
    """Of one layer's top: max|a - b|, and the same divided by max|b| (b is the reference)."""

    layer: str
    absolute: float
    relative: float


def difference(layer: str, value: torch.Tensor, reference: torch.Tensor) -> Difference:
    """The difference of one blob; infinite where the shapes differ or only one of the two is finite."""
    if value.shape != reference.shape:
        return Difference(layer, math.inf, math.inf)
    a, b = value.detach().double().cpu(), reference.detach().double().cpu()
    if not a.numel():
        return Difference(layer, 0.0, 0.0)
    absolute, scale = float((a - b).abs().max()), float(b.abs().max())
    if not (math.isfinite(absolute) and math.isfinite(scale)):
        same = (a == b) | (a.isnan() & b.isnan())
        absolute = float(torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf).max())
        finite = b[b.isfinite()]
        scale = float(finite.abs().max()) if finite.numel() else 0.0
    return Difference(layer, absolute, absolute / scale if scale else absolute)


def differences(values: Mapping[str, torch.Tensor], references: Mapping[str, torch.Tensor]) -> list[Difference]:
    """Of every layer that both have, in the order of ``values``."""
    return [difference(name, value, references[name]) for name, value in values.items() if name in references]


def worst(found: Sequence[Difference]) -> Difference:
    """The largest relative difference.

    Raises:
        ValueError: nothing was compared.
    """
    return max(found, key=lambda item: item.relative)


def first_diverging(found: Sequence[Difference], limit: float = LIMIT) -> Difference | None:
    """The first layer beyond ``limit``, which is where to look for the fault."""
    return next((item for item in found if not item.relative <= limit), None)


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
