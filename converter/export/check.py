"""Whether what was written computes what the graph computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import fx

from prototxt import Net
from prototxt.errors import InputError

from ..compare import difference, first_diverging, worst
from ..verify import seeded_inputs

LIMIT = 1e-5
"""The largest relative difference from the graph's outputs."""

Outputs = torch.Tensor | Mapping[str, torch.Tensor]


def check_outputs(what: str, graph: fx.GraphModule, net: Net, other: Callable[..., Outputs]) -> float:
    """Run ``graph`` and ``other`` on the same seeded inputs.

    Args:
        what: ``other``, for the message.
        graph: the net as converted.
        net: of the graph; gives the inputs' shapes.
        other: takes tensors as the graph does, and gives a tensor, or several under the same names.

    Returns:
        The largest relative difference, max|a - b| / max|b|, of all outputs.

    Raises:
        InputError: it is above :data:`LIMIT`; names the first output.
    """
    inputs = seeded_inputs(net)
    with torch.no_grad():
        expected, found = named(graph(*inputs)), named(other(*inputs))
    return compare(what, found, expected)


def compare(what: str, found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> float:
    """The largest relative difference of the outputs; an error above :data:`LIMIT`."""
    if found.keys() != expected.keys():
        raise InputError(f"{what} gives {sorted(found)}, the graph {sorted(expected)}; nothing was written")
    found_differences = [difference(name, found[name], value) for name, value in expected.items()]
    diverging = first_diverging(found_differences, LIMIT)
    if diverging is not None:
        raise InputError(
            f"{what} differs from the graph: output {diverging.layer!r} by {diverging.relative:.1e} of its largest "
            f"value, limit {LIMIT:.0e}; nothing was written"
        )
    return worst(found_differences).relative if found_differences else 0.0


def named(outputs: Outputs | Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Outputs by name; a single one without a name under ``""``."""
    return {"": outputs} if isinstance(outputs, torch.Tensor) else dict(outputs)  # type: ignore[arg-type]
