"""What a pass takes, and what the machine reaches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytorch_icnet import icnet
from pytorch_icnet.runtime import rewritten
from pytorch_icnet.runtime.work import ceilings, work


def test_operations_of_the_published_net() -> None:
    """29.81 GMAC at 1025x2049, which :func:`converter.summary` counts from the prototxt; the rewrites take a fifth."""
    net, shape = icnet().eval(), (1, 3, 1025, 2049)
    plain, less = work(net, shape), work(rewritten(net), shape)
    assert plain.flop / 2e9 == pytest.approx(29.81, abs=0.01)
    assert 0.8 < less.flop / plain.flop < 0.82
    assert work(net, (2, *shape[1:])).flop == 2 * plain.flop


def test_bytes_are_those_of_bottoms_weights_and_tops() -> None:
    net = nn.Conv2d(3, 8, 3, padding=1)
    numbers = 3 * 20 * 30 + 8 * 3 * 9 + 8 * 20 * 30
    assert work(net, (1, 3, 20, 30)).bytes == 4 * numbers
    assert work(net, (1, 3, 20, 30), "bf16").bytes == 2 * numbers


def test_transposed_convolutions_and_products() -> None:
    assert work(nn.ConvTranspose2d(3, 5, 2, stride=2), (1, 3, 4, 6)).flop == 2 * 4 * 6 * 3 * 5 * 2 * 2
    assert work(nn.Linear(6, 7), (2, 3, 4, 6)).flop == 2 * 2 * 3 * 4 * 6 * 7


def test_the_network_stays_where_it_is() -> None:
    net = nn.Conv2d(3, 8, 3)
    work(net, (1, 3, 9, 9))
    assert net.weight.device.type == "cpu"


def test_ceilings_are_measured() -> None:
    found = ceilings(torch.device("cpu"), "fp32")
    assert 1e8 < found.flop < 1e15 and 1e7 < found.bytes < 1e13
