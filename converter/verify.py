"""Proof that a converted net computes what it should."""

from __future__ import annotations

import copy

import torch
from torch import fx

from .activations import activations
from .compare import Difference, differences


def against_float64(graph: fx.GraphModule, *inputs: torch.Tensor) -> list[Difference]:
    """Each layer in float32 against the same layer in a float64 copy of the whole net.

    Args:
        graph: a converted net.
        inputs: float32, as ``forward`` takes them.

    Returns:
        One difference per layer, in the order in which they run.
    """
    exact = copy.deepcopy(graph).double()
    references = activations(exact, *(value.double() for value in inputs))
    return differences(activations(graph, *inputs), references)


def seeded_inputs(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> list[torch.Tensor]:
    """Standard normal inputs of these shapes, times 50: the range of an image minus its mean."""
    generator = torch.Generator().manual_seed(seed)
    return [50 * torch.randn(shape, generator=generator) for shape in shapes.values()]
