"""Whether what was written computes what the graph computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import fx

from icnet_common.errors import InputError
from prototxt import Net

from ..compare import differences, first_diverging, worst
from ..verify import seeded_inputs

LIMIT = 1e-5
"""The largest relative difference from the graph's outputs."""

NOISE = 3.0
"""Where float32 itself is worse than that: how many times the graph's own error the other may be off."""

Outputs = torch.Tensor | Mapping[str, torch.Tensor]


def check_outputs(what: str, graph: fx.GraphModule, net: Net, other: Callable[..., Outputs]) -> float:
    """Run ``graph`` and ``other`` on the same seeded inputs.

    Both are float32, with operations in another order. Where they differ by more than :data:`LIMIT`, the graph in
    float64 is the judge: then neither is right, and the other passes if its error is at most :data:`NOISE` times the
    graph's.

    Args:
        what: ``other``, for the message.
        graph: the net as converted.
        net: of the graph; gives the inputs' shapes.
        other: takes tensors as the graph does, and gives a tensor, or several under the same names.

    Returns:
        The largest relative difference from the graph, max|a - b| / max|b|, of all outputs.

    Raises:
        InputError: an output differs; names the first.
    """
    inputs = seeded_inputs(net)
    with torch.no_grad():
        expected, found = named(graph(*inputs)), named(other(*inputs))
        if found.keys() != expected.keys():
            raise InputError(f"{what} gives {sorted(found)}, the graph {sorted(expected)}; nothing was written")
        compared = differences(found, expected)
        diverging = first_diverging(compared, LIMIT)
        if diverging is not None:
            exact = named(copy.deepcopy(graph).double()(*(value.double() for value in inputs)))
            limits = {item.layer: max(LIMIT, NOISE * item.relative) for item in differences(expected, exact)}
            errors = differences(found, exact)
            diverging = next((item for item in errors if not item.relative <= limits[item.layer]), None)
    if diverging is not None:
        raise InputError(
            f"{what} differs from the graph: output {diverging.layer!r} by {diverging.relative:.1e} of its largest "
            f"value, more than float32's own noise; nothing was written"
        )
    return worst(compared).relative if compared else 0.0


def named(outputs: Outputs) -> dict[str, torch.Tensor]:
    """Outputs by name; a single one, which has none, under ``""``."""
    return {"": outputs} if isinstance(outputs, torch.Tensor) else dict(outputs)
