"""Convolutions in Winograd's form against PyTorch's own."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from converter.passes.upsample_convolution import UpsampledConvolution
from pytorch_icnet import ICNet
from pytorch_icnet.runtime import engine, rewritten, torch_backends, winograd
from pytorch_icnet.runtime.native.compiler import cpp_compiler
from pytorch_icnet.runtime.winograd import WinogradConvolution, WinogradUpsampledConvolution, transformed, with_winograd

from ..nets import seeded
from .judging import gap, image


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 5), (9, 8), (17, 33)], ids=str)
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution(size: tuple[int, int], dilation: int, bias: bool) -> None:
    x, weight = numbers(1, 3, *size), numbers(5, 3, 3, 3)
    shift = numbers(5) if bias else None
    expected = F.conv2d(x, weight, shift, padding=dilation, dilation=dilation)
    found = WinogradConvolution(weight, shift, dilation)(x)
    assert gap(found, expected) < 1e-14
    other = WinogradConvolution(weight.flip(1), shift, dilation)(x)
    assert gap(other, expected) > 1e-3, "what other weights give"


def test_weights_are_rounded_once() -> None:
    weight = numbers(4, 2, 3, 3).float()
    assert torch.equal(transformed(weight), transformed(weight.double()).float())
    assert transformed(weight).shape == (4, 2, 4, 4)


def test_a_whole_network() -> None:
    net = rewritten(seeded().double())
    assert isinstance(net, ICNet)
    x = image((97, 161)).double()
    with torch.inference_mode():
        expected = net.quarter_scores(x)
        with_winograd(net, 1)
        kinds = [type(child) for child in net.children()]
        assert (kinds.count(WinogradConvolution), kinds.count(WinogradUpsampledConvolution)) == (18, 2)
        assert gap(net.quarter_scores(x), expected) < 1e-12


def test_other_convolutions_stay() -> None:
    others = [
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=(1, 2), dilation=(1, 2)),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 7, 3, padding=1),
        nn.ConvTranspose2d(8, 8, 3, padding=1),
    ]
    assert list(with_winograd(nn.Sequential(*others), 8).children()) == others


def test_batches_and_large_images_go_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = WinogradConvolution(numbers(4, 4, 3, 3), None)
    x = numbers(2, 4, 6, 6)
    expected = F.conv2d(x, layer.weight, padding=1)
    assert torch.equal(layer(x), expected)
    assert not torch.equal(layer(x[:1]), expected[:1]), "otherwise this shows nothing"
    monkeypatch.setattr(winograd, "MOST_BYTES", 16 * 9 * 4 * 8 - 1)
    assert torch.equal(layer(x[:1]), F.conv2d(x[:1], layer.weight, padding=1))


@pytest.mark.slow
def test_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if cpp_compiler() is None:
        pytest.skip("needs a C++ compiler")
    made = []

    def recorded(module: nn.Module) -> nn.Module:
        made.append(with_winograd(module))
        return made[-1]

    monkeypatch.setattr(torch_backends, "with_winograd", recorded)
    torch.manual_seed(0)
    upsampled = UpsampledConvolution(nn.Parameter(numbers(128, 128, 3, 3).float()), None)
    net = nn.Sequential(nn.Conv2d(3, 128, 1), nn.Conv2d(128, 128, 3, padding=2, dilation=2), upsampled).eval()
    x = image((33, 41))
    ready = engine(net, size=(33, 41), backend="torch", cache_dir=tmp_path / "cache")
    assert (ready.backend, ready.notes) == ("torch", ())
    kinds = {type(layer) for layer in made[0].modules()}
    assert {WinogradConvolution, WinogradUpsampledConvolution} <= kinds
    with torch.inference_mode():
        assert gap(ready(x), copy.deepcopy(net).double()(x.double())) < 1e-6
    plain = engine(net, size=(33, 41), backend="torch", cache_dir=tmp_path / "cache", rewrite=False)
    assert len(made) == 1, "as it is written"
    assert not torch.equal(plain(x), ready(x)), "the same arithmetic"
