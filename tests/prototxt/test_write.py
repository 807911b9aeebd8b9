"""Nets and weights that are written: they read back equal, and other readers of Caffe's formats take them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray

from prototxt import (
    InputError,
    Layer,
    Net,
    Params,
    bundled_net,
    net_text,
    read_net,
    read_weights,
    schema,
    write_net,
    write_weights,
)
from prototxt.params import MESSAGE_OF_TYPE, is_repeated

NET = r"""
name: "small \"net\" \303\251\n"
input: "data" input: "b" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } input_shape { }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" } param { }
  convolution_param { num_output: 2 kernel_size: 3 pad: 0 bias_term: true
    weight_filler { type: "gaussian" std: 0.01 } bias_filler { } } }
layer { type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "p" bottom: "b" top: "l" loss_weight: 0.1
  loss_param { ignore_label: 255 normalization: BATCH_SIZE } softmax_param { axis: -1 } transform_param { } }
layer { name: "s" type: "SpatialDropout" spatial_dropout_param { dropout_ratio: 0.1 } }
layer { name: "u" type: "Unheard" sigmoid_param { engine: CAFFE } }
layer { name: "v" type: "Unheard" relu_param { negative_slope: inf } elu_param { alpha: 1e-5 } }
layer { name: "d" type: "DummyData" dummy_data_param { shape { dim: 1 } shape { } data_filler { value: 3 } } }
layer { name: "r" type: "PriorBox" prior_box_param { min_size: 30.5 min_size: 60 flip: false variance: [0.1, 0.2] } }
layer { name: "n" type: "Scale" blobs { shape { dim: 2 dim: 1 } data: [0.1, 1e-30] } blobs { double_data: 0.1 } }
"""


def filled(net: Net, seed: int = 0) -> dict[str, list[NDArray[np.float32]]]:
    random = np.random.default_rng(seed)
    shapes = {"conv": [(4, 3, 3, 3), (4,)], "ip": [(5, 144), (5,)]}
    return {
        layer.name: [random.standard_normal(shape).astype(np.float32) for shape in shapes[layer.name]]
        for layer in net.layers
        if layer.name in shapes
    }


DEPLOY = """
name: "deploy"
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 5 } }
"""


def test_text_reads_back_equal() -> None:
    net = read_net(NET)
    again = read_net(net_text(net))
    assert again == net and dict(again.inputs) == dict(net.inputs)
    blobs, others = (reading.layers[-1].blobs for reading in (net, again))
    for blob, other in zip(blobs, others, strict=True):
        assert np.array_equal(blob, other) and blob.dtype == other.dtype
    assert net_text(again) == net_text(net)
    changed = net_text(net).replace("dim: 8", "dim: 9")
    assert read_net(changed) != net


def random_value(field: Any, random: Random) -> Any:
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return float(np.float32(random.choice((0, -1.5, 0.1, 1e-30, 3e38, random.gauss(0, 100)))))
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        return random.choice(("", "a", "a b/c", "é\n\"'\\"))
    if field.type == field.TYPE_BOOL:
        return random.random() < 0.5
    signed = field.type in (field.TYPE_INT32, field.TYPE_INT64)
    return random.choice((0, 1, 7, 2**31 - 1, -1 if signed else 2**32 - 1))


def fill(message: Any, random: Random) -> None:
    """Set about half of the fields of ``message``, and all that are required, to values of their types."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.5 and not getattr(field, "is_required", field.number < 4):
            continue
        target = getattr(message, field.name)
        if field.message_type is not None:
            fill(target.add() if is_repeated(field) else target, random)
        elif is_repeated(field):
            target.extend(random_value(field, random) for _ in range(random.randrange(3)))
        else:
            setattr(message, field.name, random_value(field, random))


@pytest.mark.parametrize("seed", range(3))
def test_every_type_with_any_parameters_reads_back_equal(seed: int) -> None:
    random = Random(seed)
    message = schema.message("NetParameter")()
    for type_name, fields in MESSAGE_OF_TYPE.items():
        layer = message.layer.add(name=type_name, type=type_name)
        for name in {*random.sample(fields, min(1, len(fields))), random.choice(["transform_param", "loss_param"])}:
            fill(getattr(layer, name), random)
    net = read_net(text_format.MessageToString(message))
    set_names = [sum(layer.params.is_set(name) for name in layer.params) for layer in net.layers]
    assert sum(set_names) > 200
    assert read_net(net_text(net)) == net


@pytest.mark.parametrize("name", ["icnet_cityscapes", "icnet_cityscapes_bnnomerge"])
def test_bundled_nets_read_back_equal(name: str, tmp_path: Path) -> None:
    net = read_net(bundled_net(name))
    write_net(tmp_path / "net.prototxt", net)
    assert read_net(tmp_path / "net.prototxt") == net


def test_older_generations_are_written_as_the_current_one() -> None:
    net = read_net('input: "d" input_dim: [1, 1, 4, 4]\nlayers { name: "r" type: RELU bottom: "d" top: "d" }')
    text = net_text(net)
    assert 'type: "ReLU"' in text and "layers" not in text and 'input: "d"' in text
    assert read_net(text) == net


def test_input_layers_of_other_forms_stay_layers() -> None:
    for text in (
        'layer { name: "data" type: "Input" top: "d" input_param { shape { dim: 1 } } }',
        'layer { name: "input" type: "Input" top: "d" top: "e" input_param { shape { dim: 1 } } }',
        'layer { name: "input" type: "Input" top: "d" }',
    ):
        net = read_net(text)
        assert "layer {" in net_text(net) and read_net(net_text(net)) == net


def test_params_made_by_hand() -> None:
    params = Params({"num_output": 3, "kernel_size": (3,), "weight_filler": Params({"type": "msra"})})
    text = net_text(Net("", (Layer("c", "Convolution", ("x",), ("y",), params),)))
    assert read_net(text).layers[0].params.weight_filler.type == "msra"
    with pytest.raises(InputError, match="layer 'c': the parameters of type 'Mine' have no 'num_output'"):
        net_text(Net("", (Layer("c", "Mine", (), (), params),)))


def test_weights_round_trip(tmp_path: Path) -> None:
    net = read_net(DEPLOY)
    blobs = filled(net)
    doubles = {name: [blob.astype(np.float64) * (1 + 1e-12) for blob in layer] for name, layer in blobs.items()}
    path = tmp_path / "w.caffemodel"
    cases: list[Any] = [blobs, doubles, {"conv": []}, {}, {"conv": blobs["conv"], "not in the net": [np.float32(1)]}]
    for written in cases:
        write_weights(path, net, written)
        read = read_weights(path)
        assert list(read) == [name for name in written if written[name]]
        for name, layer in read.items():
            for blob, original in zip(layer, written[name], strict=True):
                assert np.array_equal(blob, original) and blob.dtype == original.dtype and blob.shape == original.shape
    write_weights(path, net, {"conv": [np.arange(6, dtype=np.int64).reshape(2, 3).T, np.float16(0.5)]})
    first, second = read_weights(path)["conv"]
    assert (
        first.tolist() == [[0, 3], [1, 4], [2, 5]] and second.shape == () and first.dtype == second.dtype == np.float32
    )


def test_protobuf_reads_what_is_written(tmp_path: Path) -> None:
    net = read_net(DEPLOY)
    blobs = filled(net)
    write_weights(tmp_path / "w.caffemodel", net, blobs)
    message = schema.message("NetParameter").FromString((tmp_path / "w.caffemodel").read_bytes())
    assert message.name == "deploy"
    assert [(layer.name, layer.type) for layer in message.layer] == [(layer.name, layer.type) for layer in net.layers]
    assert (list(message.layer[1].bottom), list(message.layer[1].top)) == (["data"], ["conv"])
    assert list(message.layer[1].blobs[0].shape.dim) == [4, 3, 3, 3]
    assert np.array_equal(np.float32(message.layer[3].blobs[0].data), blobs["ip"][0].reshape(-1))


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 no longer reads Caffe's formats")
def test_opencv_computes_the_same_from_what_is_written(tmp_path: Path) -> None:
    net = read_net(DEPLOY)
    blobs = filled(net)
    write_net(tmp_path / "net.prototxt", net)
    write_weights(tmp_path / "w.caffemodel", net, blobs)
    reader = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel"))
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    reader.setInput(x)
    windows = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), (3, 3), (1, 2))
    weight, bias = (blob.astype(np.float64) for blob in blobs["conv"])
    hidden = np.maximum(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None], 0)
    expected = blobs["ip"][0].astype(np.float64) @ hidden.reshape(-1) + blobs["ip"][1]
    computed = reader.forward()[0]
    assert np.abs(computed - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(computed[::-1] - expected).max() > 1e-2 * np.abs(expected).max()


def test_repeated_names_are_written_once(tmp_path: Path) -> None:
    net = read_net('layer { name: "a" type: "Scale" } layer { name: "a" type: "ReLU" } layer { type: "Scale" }')
    write_weights(tmp_path / "w.caffemodel", net, {"a": [np.ones(2)], "": [np.zeros(1)]})
    message = schema.message("NetParameter").FromString((tmp_path / "w.caffemodel").read_bytes())
    assert [(layer.name, layer.type) for layer in message.layer] == [("a", "Scale"), ("", "Scale")]


def test_writing_takes_no_second_copy_of_the_weights(tmp_path: Path) -> None:
    net = read_net('layer { name: "a" type: "Scale" }')
    blob = np.zeros((64 << 20) // 4, np.float32)
    tracemalloc.start()
    try:
        write_weights(tmp_path / "w.caffemodel", net, {"a": [blob]})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    assert read_weights(tmp_path / "w.caffemodel")["a"][0].shape == blob.shape


def test_more_than_caffe_reads_is_refused(tmp_path: Path) -> None:
    net = read_net('layer { name: "a" type: "Scale" }')
    huge = np.broadcast_to(np.float32(0), (1 << 29,))
    with pytest.raises(InputError, match="more than the 2 GB that Caffe reads"):
        write_weights(tmp_path / "w.caffemodel", net, {"a": [huge]})
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_file_that_fails(tmp_path: Path) -> None:
    net = read_net('layer { name: "a" type: "Scale" }')
    with pytest.raises((TypeError, ValueError)):
        write_weights(tmp_path / "w.caffemodel", net, {"a": [np.array(["text"])]})
    with pytest.raises(InputError, match="cannot be written"):
        write_net("/dev/null/net.prototxt", net)
    assert not list(tmp_path.iterdir())
