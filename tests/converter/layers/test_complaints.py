"""What users of other converters reported as wrong: each is checked against torch or a number worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from converter import Blobs, activations, load_caffe, register, summary
from converter.graph import Weights, translate
from prototxt import Params, read_net

pytestmark = pytest.mark.filterwarnings("ignore::converter.FillerWarning")
INPUT = "input: 'x' input_dim: 1 input_dim: 4 input_dim: 6 input_dim: 8\n"


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (1, 4, 6, 8), generator=torch.Generator().manual_seed(0))


def weights_of(text: str, **blobs: Sequence[Any]) -> Any:
    return translate(
        read_net(text), Weights({name: [np.array(b, np.float32) for b in own] for name, own in blobs.items()})
    )


def test_a_missing_layer_can_be_added() -> None:
    text = INPUT + "layer { name: 'c' type: 'Centre' bottom: 'x' top: 'y' python_param { param_str: '0.5' } }\n"

    class Centre(nn.Module):
        def __init__(self, weight: nn.Parameter) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, bottom: torch.Tensor) -> torch.Tensor:
            return bottom - self.weight.reshape(-1, 1, 1)

    @register("Centre", bottoms=1, tops=1)
    def centre(params: Params, shapes: Sequence[tuple[int, ...]], blobs: Blobs) -> nn.Module:
        return Centre(blobs.take((shapes[0][1],)))

    graph = weights_of(text, c=[[1, 2, 3, 4]])
    assert torch.equal(graph(x()), x() - torch.tensor([1.0, 2, 3, 4]).reshape(4, 1, 1))
    assert summary(text)[-1]["param_shapes"] == [[4]]


def pooled(size: int, parameters: str) -> str:
    """A net that pools a plane of ``size`` x ``size``."""
    return (
        f"input: 'x' input_shape {{ dim: [1, 1, {size}, {size}] }}\n"
        f"layer {{ name: 'p' type: 'Pooling' bottom: 'x' top: 'p' pooling_param {{ {parameters} }} }}\n"
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "expected"), [(6, 3, 2, 0, 3), (7, 2, 2, 0, 4), (6, 2, 3, 1, 3)]
)
def test_pooling_rounds_up_but_not_beyond_the_padding(
    size: int, kernel: int, stride: int, pad: int, expected: int
) -> None:
    text = pooled(size, f"kernel_size: {kernel} stride: {stride} pad: {pad}")
    assert summary(text)[-1]["top_shapes"] == [[1, 1, expected, expected]]


def test_a_padded_average_counts_the_padding_that_lies_in_the_window() -> None:
    top = load_caffe(pooled(3, "pool: AVE kernel_size: 3 stride: 2 pad: 1"))(torch.ones(1, 1, 3, 3))
    assert top.flatten().tolist() == pytest.approx([4 / 9] * 4)


def test_the_bilinear_grid_is_that_of_aligned_corners() -> None:
    text = INPUT + "layer { name: 'i' type: 'Interp' bottom: 'x' top: 'i' interp_param { height: 11 width: 15 } }\n"
    top = load_caffe(text)(x())
    assert torch.equal(top[..., ::2, ::2], x())
    assert not torch.allclose(top, F.interpolate(x(), (11, 15), mode="bilinear"), atol=1e-2)


def test_bilinear_deconvolution_upsamples_each_channel_alone() -> None:
    text = INPUT + (
        "layer { name: 'd' type: 'Deconvolution' bottom: 'x' top: 'd' convolution_param { num_output: 4 group: 4 "
        "kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: 'bilinear' } } }\n"
    )
    top = load_caffe(text)(x())
    assert torch.allclose(
        top[..., 1:-1, 1:-1], F.interpolate(x(), scale_factor=2, mode="bilinear")[..., 1:-1, 1:-1], atol=1e-6
    )


def test_layers_in_place_do_not_change_what_others_read() -> None:
    text = INPUT + (
        "layer { name: 'p' type: 'Power' bottom: 'x' top: 'y' power_param { scale: -1 } }\n"
        "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'y' }\n"
        "layer { name: 's' type: 'Power' bottom: 'y' top: 'y' power_param { shift: 1 } }\n"
        "layer { name: 'e' type: 'Eltwise' bottom: 'y' bottom: 'x' top: 'e' }\n"
    )
    bottom = x()
    values = activations(load_caffe(text), bottom)
    assert torch.equal(values["p"], -x()) and torch.equal(values["r"], (-x()).relu())
    assert torch.equal(values["e"], (-x()).relu() + 1 + x()) and torch.equal(bottom, x())


def test_weights_are_matched_by_name_and_not_by_place() -> None:
    text = "input: 'x' input_shape { dim: [1, 2] }\n" + "".join(
        f"layer {{ name: '{name}' type: 'InnerProduct' bottom: '{bottom}' top: '{name}' "
        "inner_product_param { num_output: 2 bias_term: false } }\n"
        for name, bottom in (("b", "x"), ("a", "b"))
    )
    graph = weights_of(text, a=[[[1, 0], [0, 2]]], b=[[[0, 1], [1, 0]]])
    assert graph(torch.tensor([[3.0, 5.0]])).tolist() == [[5, 6]]


def test_coefficients_of_a_sum_count() -> None:
    text = INPUT + (
        "layer { name: 'e' type: 'Eltwise' bottom: 'x' bottom: 'x' top: 'e' eltwise_param { coeff: 3 coeff: -1 } }\n"
    )
    assert torch.allclose(load_caffe(text)(x()), 2 * x(), atol=1e-6)


def test_groups_are_kept() -> None:
    text = INPUT + (
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: 4 group: 4 "
        "kernel_size: 1 bias_term: false } }\n"
    )
    graph = weights_of(text, c=[np.array([1, 2, 3, 4]).reshape(4, 1, 1, 1)])
    assert torch.equal(graph(x()), x() * torch.tensor([1.0, 2, 3, 4]).reshape(4, 1, 1))


@pytest.mark.parametrize("kind", ["Convolution convolution_param { num_output: 1", "Pooling pooling_param {"])
def test_height_and_width_are_not_confused(kind: str) -> None:
    name, parameters = kind.split(" ", 1)
    sizes = "kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 2 pad_h: 1 pad_w: 0 } }\n"
    rows = summary(f"{INPUT}layer {{ name: 'l' type: '{name}' bottom: 'x' top: 'l' {parameters} {sizes}")
    columns = 3 if name == "Convolution" else 4  # pooling rounds up
    assert rows[-1]["top_shapes"][0][2:] == [7, columns]


def test_old_generations_have_the_same_layers() -> None:
    text = (
        "input: 'x' input: 'y' input_dim: [1, 4, 6, 8] input_dim: [1, 1, 4, 6]\n"
        "layers { name: 'c' type: CONVOLUTION bottom: 'x' top: 'c' blobs_lr: 1 blobs_lr: 2 "
        "convolution_param { num_output: 2 kernel_size: 3 } }\n"
        "layers { name: 'n' type: LRN bottom: 'c' top: 'n' lrn_param { local_size: 3 } }\n"
        "layers { name: 'l' type: SOFTMAX_LOSS bottom: 'n' bottom: 'y' }\n"
    )
    rows = summary(text)
    assert [row["type"] for row in rows] == ["Input", "Convolution", "LRN", "SoftmaxWithLoss"]
    assert rows[1]["param_shapes"] == [[2, 4, 3, 3], [2]]
