"""Back to Caffe's own files: the same bits, a text that says what the graph computes, and OpenCV as another reader."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from converter import load_caffe
from converter.export.caffe import same_bits, write_caffe
from converter.export.safetensors import load_graph, save_graph
from converter.passes.fold_batch_norm import fold_batch_norm
from converter.passes.pointwise_first import pointwise_first
from converter.record import blobs_of
from icnet_common.errors import InputError
from prototxt import bundled_net, read_net, read_weights

from ...golden import shared
from .nets import GRAPHS, convolution, graph_of, icnet_graph, image, inputs_of, layer, outputs_of


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("folded", [False, True])
def test_the_round_trip_keeps_every_bit(tmp_path: Path, name: str, folded: bool) -> None:
    graph = GRAPHS[name]()
    graph = fold_batch_norm(graph) if folded else graph
    text, weights = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    write_caffe(text, weights, graph)
    again = load_caffe(text, weights)
    expected, found = graph.state_dict(), again.state_dict()
    assert list(found) == list(expected) and all(same_bits(found[key], expected[key]) for key in expected)
    write_caffe(tmp_path / "b.prototxt", tmp_path / "b.caffemodel", again)
    assert (tmp_path / "b.prototxt").read_bytes() == text.read_bytes()
    assert (tmp_path / "b.caffemodel").read_bytes() == weights.read_bytes()
    inputs = inputs_of(graph)
    with torch.no_grad():
        values, references = outputs_of(again(*inputs)), outputs_of(graph(*inputs))
    assert all(torch.equal(values[key], references[key]) for key in references)


def test_blobs_have_caffes_order_and_shapes(tmp_path: Path) -> None:
    graph = icnet_graph(merged=False)
    write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", graph)
    blobs = read_weights(tmp_path / "a.caffemodel")["conv1_1_3x3_s2/bn"]
    norm = graph.get_submodule("conv1_1_3x3_s2/bn")
    names = ("weight", "bias", "running_mean", "running_var")
    assert [blob.shape for blob in blobs] == [(1, norm.num_features, 1, 1)] * 4
    for blob, name in zip(blobs, names, strict=True):
        assert np.array_equal(blob.ravel(), getattr(norm, name).detach().numpy())


def test_a_folded_net_says_so_in_its_text(tmp_path: Path) -> None:
    folded = fold_batch_norm(icnet_graph(merged=False))
    write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", folded)
    net = read_net(tmp_path / "a.prototxt")
    assert not any(found.type == "BN" for found in net.layers)
    assert all(found.params.bias_term for found in net.layers if found.type == "Convolution")
    assert read_weights(tmp_path / "a.caffemodel")["conv1_1_3x3_s2"][1].shape == (4,)


def test_trained_weights_are_written(tmp_path: Path) -> None:
    graph = GRAPHS["branches"]()
    with torch.no_grad():
        graph.get_parameter("fc.weight").mul_(2)
        graph.get_buffer("conv1/bn.running_mean").add_(1)
    write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", graph)
    blobs = read_weights(tmp_path / "a.caffemodel")
    assert np.array_equal(blobs["fc"][0], graph.get_parameter("fc.weight").detach().numpy())
    assert np.array_equal(blobs["conv1/bn"][0], graph.get_buffer("conv1/bn.running_mean").numpy())


def test_repeated_names_are_told_apart(tmp_path: Path) -> None:
    graph = graph_of(image(4, 4) + convolution("c", "data", "x", 3) + convolution("c", "x", "y", 3))
    write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", graph)
    assert list(read_weights(tmp_path / "a.caffemodel")) == ["c", "c#2"]
    again = load_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel")
    (data,) = inputs_of(graph)
    assert torch.equal(again(data), graph(data))


def test_opencv_reads_them_as_the_graph_does(tmp_path: Path) -> None:
    if int(cv2.__version__.partition(".")[0]) > 4:
        pytest.skip("OpenCV 5 reads no Caffe nets")
    graph = graph_of(
        image(20, 24)
        + convolution("conv1", "data", "conv1", 8)
        + layer("BatchNorm", "bn1", "conv1", "conv1")
        + layer("Scale", "scale1", "conv1", "conv1", "scale_param { bias_term: true }")
        + layer("PReLU", "prelu1", "conv1", "conv1")
        + layer("Pooling", "pool1", "conv1", "pool1", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
        + layer("InnerProduct", "fc", "pool1", "fc", "inner_product_param { num_output: 5 }")
    )
    (data,) = inputs_of(graph)
    for name, net in (("plain", graph), ("folded", fold_batch_norm(graph))):
        write_caffe(tmp_path / f"{name}.prototxt", tmp_path / f"{name}.caffemodel", net)
        reader = cv2.dnn.readNetFromCaffe(str(tmp_path / f"{name}.prototxt"), str(tmp_path / f"{name}.caffemodel"))
        reader.setInput(data.numpy())
        found, expected = torch.from_numpy(reader.forward()), graph(data).detach()
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max(), name


def test_other_than_float32_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float32"):
        write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", GRAPHS["fully"]().double())
    assert list(tmp_path.iterdir()) == []


def test_what_caffe_does_not_have_is_refused(tmp_path: Path) -> None:
    graph = pointwise_first(icnet_graph(merged=True))
    with pytest.raises(InputError, match="has no form in Caffe"):
        write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", graph)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_blob_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: one bit of one blob."""

    def flipped(graph: torch.fx.GraphModule) -> dict[str, list[np.ndarray]]:
        blobs = blobs_of(graph)
        blobs["fc"][1] = blobs["fc"][1].copy()
        blobs["fc"][1].view(np.uint32)[0] ^= 1
        return blobs

    monkeypatch.setattr("converter.export.caffe.blobs_of", flipped)
    with pytest.raises(InputError, match=r"'fc\.bias' is not what it was"):
        write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", GRAPHS["branches"]())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["icnet_bnnomerge_rand", "icnet_merged_from_bn"])
def test_the_original_caffes_weights_survive(tmp_path: Path, name: str) -> None:
    weights = shared("golden", "icnet", f"{name}.caffemodel")
    net = "icnet_cityscapes_bnnomerge" if "bnnomerge" in name else "icnet_cityscapes"
    graph = load_caffe(bundled_net(net), weights)
    write_caffe(tmp_path / "a.prototxt", tmp_path / "a.caffemodel", graph)
    original, written = read_weights(weights), read_weights(tmp_path / "a.caffemodel")
    assert list(written) == list(original)
    for layer_name, blobs in original.items():
        for blob, again in zip(blobs, written[layer_name], strict=True):
            assert blob.shape == again.shape and np.array_equal(blob, again)
    save_graph(tmp_path / "a.safetensors", graph, {})
    write_caffe(tmp_path / "b.prototxt", tmp_path / "b.caffemodel", load_graph(tmp_path / "a.safetensors"))
    assert (tmp_path / "a.caffemodel").read_bytes() == (tmp_path / "b.caffemodel").read_bytes()
