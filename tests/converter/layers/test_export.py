"""Modules are plain enough for torch.export, but for the types that say that they are not."""

from __future__ import annotations

import pytest
import torch

from converter import registry
from converter.graph import Weights, translate

from .cases import CASES, Case
from .single import net_of, random_blobs
from .test_formulas import bottoms_for

FIRST: dict[str, Case] = {}
for case in CASES:
    if "torch.export" not in registry.registered()[case[0].split(" ")[0]].limits:
        FIRST.setdefault(case[0].split(" ")[0], case)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIRST)
def test_a_module_can_be_exported(kind: str) -> None:
    layer, shapes, holds = FIRST[kind]
    net = net_of(layer, shapes)
    graph = translate(net, Weights({"l": random_blobs(net)}))
    inputs = tuple(torch.from_numpy(bottom).float() for bottom in bottoms_for(shapes, holds))
    module = graph.get_submodule("l")
    program = torch.export.export(module, inputs, strict=False)
    for ours, theirs in zip(_tuple(program.module()(*inputs)), _tuple(module(*inputs)), strict=True):
        assert torch.equal(ours, theirs)


def _tuple(value: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)
