"""The rewritten networks against the plain ones, in float64, and their rounding in float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn

from converter.graph import Weights, translate
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.runtime import rewritten
from pytorch_icnet.weights.caffe import fitting_net, resized_net

from ..golden import arrays, shared
from ..nets import blobs_of, seeded
from .judging import gap, image

EXACT = 1e-12
SIZES = [(33, 65), (65, 97), (97, 161), (102, 66), (40, 72), (1, 33)]
"""Odd and even ones, and one whose coarse features have a single row."""


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("merged", [True, False], ids=["merged", "with_bn"])
def test_icnet_is_the_same_function(size: tuple[int, int], merged: bool) -> None:
    plain = seeded(merged=merged).double()
    x = image(size, 2).double()
    fast = rewritten(plain)
    with torch.inference_mode():
        assert gap(fast(x), plain(x)) < EXACT
        assert isinstance(fast, ICNet)
        assert gap(fast.quarter_scores(x), plain.quarter_scores(x)) < EXACT


def test_the_network_itself_stays_as_it_is() -> None:
    plain = seeded(aux=True)
    before = copy.deepcopy(plain.state_dict())
    fast = rewritten(plain)
    assert isinstance(fast, ICNet)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert not fast.training and not any(parameter.requires_grad for parameter in fast.parameters())
    with pytest.raises(NotImplementedError):
        fast.cascade_scores(image((33, 33)))


def test_other_windows_and_pruned_channels_are_kept() -> None:
    pyramid = {"pool1": (3, 5, 3, 5), "pool2": (2, 3, 1, 2), "pool3": (1, 2, 1, 1), "pool6": (1, 1, 1, 1)}
    plain = seeded(pyramid=pyramid, channels={"conv1_2_3x3": 5}, num_classes=3).double()
    x = image((65, 129)).double()
    assert gap(rewritten(plain)(x), plain(x)) < EXACT


def test_a_forgotten_factor_is_noticed() -> None:
    """The negative control."""
    plain = seeded().double()
    fast = rewritten(plain)
    plain.data_sub1.weight.data[0] *= 1.001
    x = image((65, 97)).double()
    assert gap(fast(x), plain(x)) > 1e-6


def test_a_converted_graph_is_the_same_function() -> None:
    blobs = blobs_of(seeded(merged=False))
    graph = translate(resized_net(fitting_net(blobs, "test"), (65, 97)), Weights(blobs)).double()
    fast = rewritten(graph)
    x = image((65, 97)).double()
    assert isinstance(fast, fx.GraphModule)
    assert gap(fast(x), graph(x)) < EXACT
    assert len(fast.graph.nodes) < len(graph.graph.nodes)


def test_other_networks_are_left_alone() -> None:
    layer = nn.Conv2d(1, 1, 1)
    assert rewritten(layer) is layer


@pytest.mark.parametrize("size", ["129x257", "133x262"])
def test_float32_rounds_no_worse_than_the_plain_net(size: str) -> None:
    """In the layout of inference; root mean square, as the largest difference is one pixel's luck."""
    plain = icnet(shared("golden", "icnet", "icnet_merged_from_bn.caffemodel")).eval()
    x = arrays(shared("golden", "icnet", f"bnnomerge_{size}.npz"))["data"].to(memory_format=torch.channels_last)
    with torch.inference_mode():
        exact = copy.deepcopy(plain).double().quarter_scores(x.double())

        def rounding(model: ICNet) -> float:
            for parameter in model.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            scores = model.quarter_scores(x)
            return float((scores.double() - exact).square().mean().sqrt())

        fast = rewritten(plain)
        assert isinstance(fast, ICNet)
        assert rounding(fast) <= 1.001 * rounding(plain)
