"""All passes on a whole ICNet, in float64."""

from __future__ import annotations

import pytest
import torch

from converter import activations
from converter.compare import differences, worst
from converter.layers.interp import Interp
from converter.passes import for_inference
from converter.passes.strided_shrink import StridedShrink
from converter.passes.upsample_convolution import UpsampledConvolution

from ..export.nets import icnet_graph

EXACT = 1e-12


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("size", [(65, 97), (72, 104)], ids=str)
def test_icnet_stays_exact(merged: bool, size: tuple[int, int]) -> None:
    plain = icnet_graph(merged).double()
    fast = for_inference(plain)
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, references = activations(fast, image), activations(plain, image)
    if not merged:
        references = {name: references.get(f"{name}/bn", value) for name, value in references.items()}
    found = worst(differences(values, references))
    assert found.relative < EXACT, found
    assert len(values) > 150 and "conv6_interp" in values


def test_icnets_rewrites() -> None:
    fast = for_inference(icnet_graph(merged=False))
    kinds = {name: type(module) for name, module in fast.named_children()}
    assert kinds["conv_sub4"] is kinds["conv_sub2"] is UpsampledConvolution
    assert kinds["data_sub2"] is kinds["conv3_1_sub4"] is StridedShrink
    assert "conv5_4_interp" not in kinds and "sub24_sum_interp" not in kinds
    assert kinds["conv5_3_pool1_interp"] is Interp
    order = [node.target for node in fast.graph.nodes if node.op == "call_module"]
    assert order.index("conv6_cls") + 1 == order.index("sub12_sum_interp")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.children())
