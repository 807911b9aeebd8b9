"""What Caffe does at the edges of its layers, each case worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from converter import activations, load_caffe, summary
from converter.graph import Weights, translate
from prototxt import read_net, write_mean

from .single import by_module, net_of, random_blobs

pytestmark = pytest.mark.filterwarnings("ignore::converter.FillerWarning")


def top(layer: str, *bottoms: Any, blobs: list[NDArray[Any]] | None = None) -> NDArray[Any]:
    """The first top of a one-layer net in float32."""
    arrays = [np.array(bottom, np.float32) for bottom in bottoms]
    net = net_of(layer, [array.shape for array in arrays])
    return by_module(net, arrays, random_blobs(net) if blobs is None else blobs, torch.float32)[0].numpy()


def test_a_kernel_beyond_the_bottom_has_one_position_if_the_division_is_towards_zero() -> None:
    """(7 - 8) / 2 + 1 is 1 in C++; the kernel's last row and column see nothing."""
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 7))
    net = net_of("Convolution convolution_param { num_output: 3 kernel_size: 8 stride: 2 }", [x.shape])
    weight, bias = random_blobs(net)
    (y,) = by_module(net, [x], [weight, bias], torch.float64)
    expected = np.einsum("ochw,chw->o", weight.astype(np.float32)[:, :, :7, :7], x[0]) + bias.astype(np.float32)
    np.testing.assert_allclose(y[0, :, 0, 0], expected, rtol=1e-12)
    assert summary(net)[-1]["top_shapes"] == [[1, 3, 1, 1]]


def test_a_window_without_pixels_is_the_lowest_number_and_its_mask_is_minus_one() -> None:
    net = net_of("Pooling top: 'y' top: 'm' pooling_param { kernel_size: 1 stride: 3 }", [(1, 1, 3, 3)])
    values, mask = by_module(net, [np.arange(9.0).reshape(1, 1, 3, 3)], [], torch.float32)
    lowest = torch.finfo(torch.float32).min
    assert values.flatten().tolist() == [0, lowest, lowest, lowest]
    assert mask.flatten().tolist() == [0, -1, -1, -1]


def test_of_equal_maxima_the_first_is_in_the_mask() -> None:
    net = net_of("Pooling top: 'y' top: 'm' pooling_param { kernel_size: 2 stride: 2 }", [(1, 1, 2, 4)])
    _, mask = by_module(net, [np.zeros((1, 1, 2, 4))], [], torch.float32)
    assert mask.flatten().tolist() == [0, 2]


def test_unpooling_undoes_pooling_at_the_maxima() -> None:
    net = read_net(
        "input: 'x' input_dim: 1 input_dim: 2 input_dim: 6 input_dim: 8\n"
        "layer { name: 'p' type: 'Pooling' bottom: 'x' top: 'p' top: 'm' pooling_param { kernel_size: 2 stride: 2 } }\n"
        "layer { name: 'u' type: 'Upsample' bottom: 'p' bottom: 'm' top: 'u' upsample_param { scale: 2 } }\n"
    )
    x = torch.rand(1, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    unpooled = load_caffe(net)(x)
    assert torch.equal(F.max_pool2d(unpooled, 2), F.max_pool2d(x, 2))
    assert torch.equal(unpooled[unpooled != 0], x[unpooled != 0]) and int((unpooled != 0).sum()) == 24


def test_nvidias_batch_norm_has_scale_and_bias() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    mean, variance, scale, bias = (np.array(v, np.float32) for v in ([1, 2, 3], [4, 5, 6], [0.5, 1, 2], [7, 8, 9]))
    blobs = [mean, variance, np.ones(1, np.float32), scale, bias]
    y = top("BatchNorm batch_norm_param { scale_filler { value: 1 } eps: 0 }", x, blobs=blobs)
    m, v, s, b = (value.reshape(3, 1, 1) for value in (mean, variance, scale, bias))
    np.testing.assert_allclose(y, (x - m) / np.sqrt(v) * s + b, rtol=1e-4, atol=1e-5)
    own = top("BatchNorm batch_norm_param { scale_bias: true use_global_stats: false eps: 0 }", x, blobs=blobs)
    axes = (0, 2, 3)
    centred = x - x.mean(axes, keepdims=True)
    np.testing.assert_allclose(own, centred / centred.std(axes, keepdims=True) * s + b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("factor", "expected"), [(0.0, 2.0), (1.0, 1.0), (999.98, (2 - 1 / 999.98) / 999.98**-0.5)])
def test_batch_norm_divides_by_its_factor_and_takes_zero_for_zero(factor: float, expected: float) -> None:
    """x = 2, mean 1, variance 1: with a factor of 0 both count as 0, and eps, here 1, alone is under the root."""
    blobs = [np.array([value], np.float32) for value in (1, 1, factor)]
    eps = 0 if factor else 1
    y = top(f"BatchNorm batch_norm_param {{ eps: {eps} }}", [[[[2.0]]]], blobs=blobs)
    assert float(y.item()) == pytest.approx(expected, rel=1e-5)


def test_a_sum_in_place_loses_the_bottom_that_it_overwrites() -> None:
    a, b = np.full((1, 2), 3.0), np.full((1, 2), 5.0)
    assert top("Eltwise top: 'a'", a, b).tolist() == [[5, 5]]
    assert top("Eltwise top: 'a' eltwise_param { coeff: 2 coeff: 3 }", a, b).tolist() == [[15, 15]]
    assert top("Eltwise", a, b).tolist() == [[8, 8]]


def test_the_blas_takes_a_scale_of_nan_for_zero() -> None:
    assert top("Power power_param { scale: nan shift: 3 power: 2 }", [[1.0, 2.0]]).tolist() == [[9, 9]]


def test_dummy_data_and_parameter_are_constants_and_a_net_may_have_no_inputs() -> None:
    net = read_net(
        "layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { shape { dim: 2 dim: 3 } "
        "data_filler { value: 2 } data_filler { type: 'uniform' min: 1 max: 4 } } }\n"
        "layer { name: 'o' type: 'DummyData' top: 'z' dummy_data_param { num: 2 channels: 3 height: 1 width: 1 } }\n"
        "layer { name: 'p' type: 'Parameter' top: 'p' parameter_param { shape { dim: 2 dim: 3 } } }\n"
    )
    graph = translate(net, Weights({"p": [np.arange(6, dtype=np.float32).reshape(2, 3)]}))
    out = graph()
    assert out["x"].tolist() == [[2, 2, 2]] * 2 and out["z"].shape == (2, 3, 1, 1) and out["z"].count_nonzero() == 0
    assert 1 <= out["y"].min() < out["y"].max() <= 4
    assert out["p"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert graph.double()()["x"].dtype == torch.float64


def test_silence_takes_a_blob_from_the_outputs() -> None:
    text = "input: 'x' input_shape { dim: 1 }\nlayer { name: 'r' type: 'Split' bottom: 'x' top: 'a' top: 'b' }\n"
    both = load_caffe(text)(torch.ones(1))
    assert sorted(both) == ["a", "b"]
    one = load_caffe(text + "layer { name: 's' type: 'Silence' bottom: 'b' }\n")(torch.ones(1))
    assert one.tolist() == [1]


def test_a_loss_without_top_gets_one_that_is_no_output() -> None:
    text = (
        "input: 'x' input_shape { dim: 2 dim: 3 } input: 'y' input_shape { dim: 2 }\n"
        "layer { name: 'r' type: 'ReLU' bottom: 'x' top: 'r' }\n"
        "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'x' bottom: 'y' }\n"
    )
    assert summary(text)[-1]["tops"] == ["(automatic)"] and summary(text)[-1]["top_shapes"] == [[]]
    graph = load_caffe(text)
    x, y = torch.zeros(2, 3), torch.tensor([0.0, 2.0])
    assert graph(x, y).shape == (2, 3)
    assert float(activations(graph, x, y)["loss"]) == pytest.approx(np.log(3))


def test_infogain_reads_its_matrix_from_a_file(tmp_path: Any) -> None:
    matrix = np.random.default_rng(0).uniform(0, 1, (1, 1, 3, 3)).astype(np.float32)
    write_mean(tmp_path / "h.binaryproto", matrix)
    x, labels = np.random.default_rng(1).standard_normal((4, 3)), np.array([0, 1, 2, 1])
    by_file = top(f"InfogainLoss infogain_loss_param {{ source: '{tmp_path / 'h.binaryproto'}' }}", x, labels)
    np.testing.assert_array_equal(by_file, top("InfogainLoss", x, labels, matrix))


def test_rounding_of_regions_is_away_from_zero_at_halves() -> None:
    features = np.arange(16.0).reshape(1, 1, 4, 4)
    layer = "ROIPooling roi_pooling_param { pooled_h: 1 pooled_w: 1 }"
    assert top(layer, features, [[0, 0.5, 0.5, 1.5, 1.5]]).item() == 10  # rows and columns 1 to 2
    assert top(layer, features, [[0, -0.5, 0, 0, 0]]).item() == 0  # columns -1 to 0, cut to 0
