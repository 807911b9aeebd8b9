"""Parameters of layers: names, types, defaults, and which message a layer type reads."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from prototxt import Params, PrototxtError, read_net, schema
from prototxt.params import MESSAGE_OF_TYPE


def layer_of(text: str) -> Params:
    return read_net(f"layer {{ {text} }}").layers[0].params


def test_defaults_are_caffes() -> None:
    params = layer_of('type: "Convolution"')
    assert (params.bias_term, params.group, params.pad, params.stride_h, params.axis) == (True, 1, (), 0, 1)
    assert not any(params.is_set(name) for name in params)
    assert layer_of('type: "LRN"')["norm_region"] == "ACROSS_CHANNELS"
    assert layer_of('type: "BN"').eps == np.float32(1e-5)
    assert layer_of('type: "Convolution"').weight_filler.type == "constant"
    assert layer_of('type: "PriorBox"').flip is True
    assert layer_of('type: "DetectionOutput"').nms_param.nms_threshold == np.float32(0.3)


def test_set_values() -> None:
    params = layer_of('type: "Interp" interp_param { zoom_factor: 2 height: 0 }')
    assert params.is_set("zoom_factor") and params.is_set("height") and not params.is_set("width")
    params = layer_of('type: "Convolution" convolution_param { weight_filler { type: "xavier" } pad: 1 }')
    assert (
        params.is_set("weight_filler")
        and params.weight_filler.is_set("type")
        and not params.weight_filler.is_set("std")
    )
    assert params.message == "convolution_param"


def test_repeated_messages_and_enums() -> None:
    params = layer_of(
        'type: "DummyData" dummy_data_param { shape { dim: 1 dim: 2 } shape { } data_filler { value: 3 } }'
    )
    assert [shape.dim for shape in params.shape] == [(1, 2), ()]
    assert params.data_filler[0].value == 3


def test_other_messages_keep_their_names() -> None:
    params = layer_of('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 } softmax_param { axis: 2 }')
    assert (params.axis, params.loss_param.ignore_label, params.loss_param.normalization) == (2, 255, "VALID")
    assert params.is_set("loss_param") and params.is_set("axis") and not params.is_set("engine")
    assert "loss_param" not in layer_of('type: "SoftmaxWithLoss"')


def test_types_of_two_forks_and_unknown_types() -> None:
    assert layer_of('type: "SpatialDropout"').dropout_ratio == 0.5
    assert layer_of('type: "SpatialDropout" spatial_dropout_param { dropout_ratio: 0.25 }').dropout_ratio == 0.25
    assert layer_of('type: "Mine" power_param { power: 2 } transform_param { scale: 3 }').power == 2
    assert len(layer_of('type: "Mine"')) == 0
    both = layer_of('type: "Mine" power_param { power: 2 } relu_param { }')
    assert both.power_param.power == 2 and both.relu_param.negative_slope == 0


def test_table_of_types_matches_the_schema() -> None:
    fields = schema.message("LayerParameter").DESCRIPTOR.fields_by_name
    for type_name, names in MESSAGE_OF_TYPE.items():
        assert all(fields[name].message_type is not None for name in names), type_name


def test_the_rest_of_a_layer() -> None:
    (layer,) = read_net(
        'layer { name: "c" bottom: "a" bottom: "b" top: "c" loss_weight: 0 loss_weight: 1.5 '
        'param { name: "w" lr_mult: 2 } param { } param { name: "v" } }'
    ).layers
    assert (layer.bottoms, layer.tops, layer.loss_weights) == (("a", "b"), ("c",), (0, 1.5))
    assert layer.param_names == ("w", "", "v")


def test_blobs_in_the_text() -> None:
    (layer,) = read_net(
        "layer { blobs { shape { dim: 2 dim: 1 } data: 1 data: [2] } blobs { num: 1 channels: 1 height: 1 width: 1 "
        "double_data: 3 data: 4 } }"
    ).layers
    first, second = layer.blobs
    assert first.tolist() == [[1], [2]] and first.dtype == np.float32
    assert second.shape == (1, 1, 1, 1) and second.dtype == np.float64 and second.item() == 3
    with pytest.raises(PrototxtError, match="layer 'a'"):
        read_net('layer { name: "a" blobs { shape { dim: 2 } data: 1 } }')
    with pytest.raises(PrototxtError, match="layer 'a'"):
        read_net('layer { name: "a" blobs { shape { dim: 1099511627776 dim: 1099511627776 } data: 1 } }')


def test_params_are_immutable_values() -> None:
    params = layer_of('type: "Pooling" pooling_param { kernel_size: 3 }')
    changed = params.replace(stride=2)
    assert (params.stride, changed.stride, changed.is_set("stride"), changed.message) == (1, 2, True, "pooling_param")
    assert params == layer_of('type: "Pooling" pooling_param { kernel_size: 3 }') != changed
    copy = pickle.loads(pickle.dumps(params))
    assert copy == params and copy.message == params.message
    with pytest.raises(AttributeError, match="no parameter 'strides'"):
        _ = params.strides
    with pytest.raises(AttributeError):
        params.stride = 3
    with pytest.raises(KeyError):
        params.replace(strides=2)
