"""The exact rewrites against the plain graph, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import fx, nn

from converter import FillerWarning, activations, load_caffe
from converter.layers.interp import Interp
from converter.passes.pointwise_first import pointwise_first
from converter.passes.strided_shrink import StridedShrink, strided_shrink
from converter.passes.upsample_convolution import UpsampledConvolution, upsample_convolution

EXACT = 1e-12
GAUSSIAN = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'


def net(size: tuple[int, int], *layers: str) -> fx.GraphModule:
    text = f'input: "data" input_dim: 2 input_dim: 4 input_dim: {size[0]} input_dim: {size[1]}\n' + "\n".join(layers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FillerWarning)
        return load_caffe(text).double()


def interp(name: str, bottom: str, factor: str) -> str:
    return f'layer {{ name: "{name}" type: "Interp" bottom: "{bottom}" top: "{name}" interp_param {{ {factor} }} }}'


def convolution(name: str, bottom: str, params: str, outputs: int = 6) -> str:
    params = f"convolution_param {{ num_output: {outputs} {params} {GAUSSIAN} }}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {params} }}'


def image(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def difference(value: torch.Tensor, reference: torch.Tensor) -> float:
    assert value.shape == reference.shape
    value, reference = value.detach(), reference.detach()
    return float((value - reference).abs().max() / reference.abs().max())


SIZES = [(1, 1), (1, 5), (2, 2), (2, 7), (3, 3), (4, 3), (5, 9), (12, 17)]
DILATED = "kernel_size: 3 dilation: 2 pad: 2"


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("more", ["", "bias_term: false", "group: 2"])
def test_convolution_before_the_zoom(size: tuple[int, int], more: str) -> None:
    plain = net(size, interp("up", "data", "zoom_factor: 2"), convolution("conv", "up", f"{DILATED} {more}"))
    fast = upsample_convolution(plain)
    assert [type(module) for module in fast.children()] == [UpsampledConvolution]
    assert difference(fast(image(size)), plain(image(size))) < EXACT


def test_convolution_before_the_zoom_leaves_the_original_alone() -> None:
    plain = net((5, 6), interp("up", "data", "zoom_factor: 2"), convolution("conv", "up", DILATED))
    before = plain(image((5, 6)))
    fast = upsample_convolution(plain)
    assert torch.equal(plain(image((5, 6))), before)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert list(activations(fast, image((5, 6)))) == ["data", "conv"]


def test_a_zoom_that_others_read_stays() -> None:
    layers = [interp("up", "data", "zoom_factor: 2"), convolution("conv", "up", DILATED)]
    plain = net((5, 6), *layers, convolution("other", "up", "kernel_size: 1"))
    fast, x = upsample_convolution(plain), image((5, 6))
    assert isinstance(fast.get_submodule("up"), Interp)
    values, references = activations(fast, x), activations(plain, x)
    assert values.keys() == references.keys()
    assert max(difference(values[name], references[name]) for name in values) < EXACT


def test_without_the_border_the_convolution_is_wrong() -> None:
    """The negative control: what the strips are for."""
    plain = net((5, 6), interp("up", "data", "zoom_factor: 2"), convolution("conv", "up", DILATED))
    x = image((5, 6))
    weight, bias = plain.get_parameter("conv.weight"), plain.get_parameter("conv.bias")
    naive = Interp(zoom=2)(nn.functional.conv2d(x, weight, bias, padding=1))
    gap = (naive - plain(x)).abs()
    assert gap[..., 1, :].max() > 1e-3 and gap[..., -2, :].max() > 1e-3
    assert gap[..., :, 1].max() > 1e-3 and gap[..., :, -2].max() > 1e-3
    gap[..., [1, -2], :] = 0
    gap[..., :, [1, -2]] = 0
    assert gap.max() < EXACT


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("zoom", [2, 4])
def test_pointwise_before_the_zoom(size: tuple[int, int], zoom: int) -> None:
    layers = [interp("up", "data", f"zoom_factor: {zoom}"), convolution("cls", "up", "kernel_size: 1 group: 2")]
    plain = net(size, *layers, 'layer { name: "relu" type: "ReLU" bottom: "cls" top: "cls" }')
    fast, x = pointwise_first(plain), image(size)
    assert [node.target for node in fast.graph.nodes if node.op == "call_module"] == ["cls", "up", "relu"]
    values, references = activations(fast, x), activations(plain, x)
    assert list(values) == ["data", "cls", "relu"]
    assert max(difference(values[name], references[name]) for name in values) < EXACT


def test_a_padded_pointwise_convolution_does_not_commute() -> None:
    plain = net((3, 4), interp("up", "data", "zoom_factor: 2"), convolution("cls", "up", "kernel_size: 1 pad: 1"))
    fast = pointwise_first(plain)
    assert [node.target for node in fast.graph.nodes if node.op == "call_module"] == ["up", "cls"]
    moved = Interp(zoom=2)(plain.get_submodule("cls")(image((3, 4))))
    assert moved.shape != plain(image((3, 4))).shape


@pytest.mark.parametrize("shrink", [2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 13), (9, 17), (8, 9), (8, 8)], ids=str)
def test_shrinking_by_slicing(size: tuple[int, int], shrink: int) -> None:
    plain = net(size, interp("down", "data", f"shrink_factor: {shrink}"))
    fast = strided_shrink(plain)
    assert isinstance(fast.get_submodule("down"), StridedShrink)
    assert difference(fast(image(size)), plain(image(size))) < EXACT


def test_slicing_an_even_size_is_wrong() -> None:
    """The negative control: what the fallback is for."""
    size = (8, 8)
    plain = net(size, interp("down", "data", "shrink_factor: 2"))
    assert difference(image(size)[..., ::2, ::2], plain(image(size))) > 1e-3


@pytest.mark.parametrize(
    ("rewrite", "factor", "params"),
    [
        (upsample_convolution, "zoom_factor: 4", DILATED),
        (upsample_convolution, "zoom_factor: 2", "kernel_size: 3 pad: 1"),
        (upsample_convolution, "zoom_factor: 2", f"{DILATED} stride: 2"),
        (upsample_convolution, "zoom_factor: 2 pad_beg: -1", DILATED),
        (upsample_convolution, "height: 9 width: 9", DILATED),
        (pointwise_first, "shrink_factor: 2", "kernel_size: 1"),
        (pointwise_first, "zoom_factor: 2", "kernel_size: 1 stride: 2"),
        (strided_shrink, "shrink_factor: 2 zoom_factor: 2", "kernel_size: 1"),
        (strided_shrink, "shrink_factor: 2 pad_end: -1", "kernel_size: 1"),
    ],
)
def test_what_does_not_fit_the_proof_is_left_alone(
    rewrite: Callable[[fx.GraphModule], fx.GraphModule], factor: str, params: str
) -> None:
    plain = net((5, 6), interp("resized", "data", factor), convolution("conv", "resized", params))
    assert rewrite(plain).code == plain.code
    assert [type(m) for m in rewrite(plain).children()] == [type(m) for m in plain.children()]
