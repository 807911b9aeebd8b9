"""Interp's shrinking by a whole number of steps, as slicing.

Shrinking an axis of n pixels by s gives m = (n - 1) // s + 1 pixels, and pixel i of the result lies at
i (n - 1) / (m - 1) of the input. Where s divides n - 1 (for s = 2: where n is odd), m - 1 = (n - 1) / s, so that it
lies at i s, which is a whole number: no neighbour contributes, and the result is every s-th pixel, bit for bit.
"""

from __future__ import annotations

import torch
from torch import fx

from ..layers.interp import Interp
from .rewriting import copied, finished, module_of, replace_module


class StridedShrink(Interp):
    """Interp with a shrink factor alone, which slices where that is exact and resizes elsewhere."""

    def __init__(self, shrink: int) -> None:
        super().__init__(shrink=shrink)

    def forward(self, bottom: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        height, width = bottom.shape[-2:]
        if (height - 1) % self.shrink or (width - 1) % self.shrink:
            return super().forward(bottom)
        return bottom[..., :: self.shrink, :: self.shrink]


def strided_shrink(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of ``graph`` whose Interp layers with a shrink factor alone slice. For inference."""
    graph = copied(graph)
    for node in graph.graph.nodes:
        module = module_of(graph, node)
        if type(module) is Interp and is_shrink(module):
            replace_module(graph, node, StridedShrink(module.shrink))
    return finished(graph)


def is_shrink(interp: Interp) -> bool:
    """Whether ``interp`` shrinks by a factor and does nothing else."""
    return interp.size is None and interp.shrink > 1 and interp.zoom == 1 and not any(interp.crop)
