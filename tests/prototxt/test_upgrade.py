"""V0 and V1 nets, input fields, and the rules of phase, level and stage."""

from __future__ import annotations

import pytest

from prototxt import Net, PrototxtError, read_net
from prototxt.upgrade import TYPE_OF_V0, TYPE_OF_V1, V0_FIELDS

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'


def names(net: Net) -> list[tuple[str, str]]:
    return [(layer.name, layer.type) for layer in net.layers]


def test_v1() -> None:
    net = read_net(
        INPUT + 'layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" param: "w" param: "b" blobs_lr: 1 '
        "loss_weight: 2 convolution_param { num_output: 4 } }\n"
        'layers { name: "r" type: 18 bottom: "c" top: "c" relu_param { negative_slope: 0.5 } }'
    )
    assert names(net) == [("input", "Input"), ("c", "Convolution"), ("r", "ReLU")]
    convolution, relu = net.layers[1:]
    assert (convolution.params.num_output, convolution.param_names, convolution.loss_weights) == (4, ("w", "b"), (2,))
    assert (convolution.line, relu.line, relu.params.negative_slope) == (2, 3, 0.5)
    assert (relu.bottoms, relu.tops) == (("c",), ("c",))


def test_v1_types() -> None:
    assert len(TYPE_OF_V1) == 40
    assert TYPE_OF_V1[0] == "" and TYPE_OF_V1[11] == "Im2col" and TYPE_OF_V1[16] == "MultinomialLogisticLoss"
    assert set(TYPE_OF_V0.values()) <= set(TYPE_OF_V1.values())
    assert {kind for places in V0_FIELDS.values() for kind in places} <= {*TYPE_OF_V0, "any layer"}


def test_v1_preprocessing_moves_to_transform_param() -> None:
    (layer,) = read_net(
        'layers { type: DATA name: "d" top: "x" '
        'data_param { source: "s" scale: 2 mean_file: "m" crop_size: 5 mirror: true } }'
    ).layers
    transform = layer.params.transform_param
    assert (transform.scale, transform.mean_file, transform.crop_size, transform.mirror) == (2, "m", 5, True)
    assert layer.params.source == "s" and not layer.params.is_set("scale")


def test_v0() -> None:
    net = read_net(
        INPUT + 'layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "p" }\n'
        'layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 1 biasterm: false '
        'weight_filler { type: "xavier" } blobs_lr: 1 pool: AVE } bottom: "p" top: "c" }\n'
        'layers { layer { name: "m" type: "pool" kernelsize: 2 pool: AVE pad: 1 } bottom: "c" top: "m" }\n'
        'layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 2 beta: 4 } bottom: "m" top: "n" }\n'
        'layers { layer { name: "i" type: "innerproduct" num_output: 5 scale: 3 } bottom: "n" top: "i" }'
    )
    types = [("c", "Convolution"), ("m", "Pooling"), ("n", "LRN"), ("i", "InnerProduct")]
    assert names(net) == [("input", "Input"), *types]
    convolution, pooling, lrn, product = net.layers[1:]
    params = convolution.params
    assert (params.num_output, params.kernel_size, params.stride, params.pad) == (4, (3,), (2,), (2,))
    assert (params.bias_term, params.weight_filler.type, convolution.bottoms) == (False, "xavier", ("data",))
    assert (pooling.params.pool, pooling.params.kernel_size, pooling.params.pad) == ("AVE", 2, 1)
    assert (lrn.params.local_size, lrn.params.alpha, lrn.params.beta) == (3, 2, 4)
    assert (product.params.num_output, product.params.transform_param.scale) == (5, 3)
    assert [layer.line for layer in net.layers] == [None, 3, 4, 5, 6]


REFUSED = {
    "mixes 'layer' and 'layers'": INPUT + 'layers { name: "a" type: RELU }\nlayer { name: "b" type: "ReLU" }',
    "mixes V0 layers": INPUT + 'layers { layer { type: "relu" } bottom: "data" }\nlayers { type: RELU bottom: "data" }',
    "is no type of a V0 layer": INPUT + 'layers { layer { name: "a" type: "reluu" } bottom: "data" }',
    "is no input": 'layers { layer { name: "a" type: "relu" } bottom: "data" }',
    "only conv and pool may follow": INPUT + 'layers { layer { type: "padding" pad: 1 } bottom: "data" top: "p" }'
    'layers { layer { name: "a" type: "relu" } bottom: "p" }',
    "have one bottom": INPUT + 'layers { layer { type: "padding" pad: 1 } bottom: "data" top: "p" }'
    'layers { layer { name: "a" type: "conv" } bottom: "p" bottom: "data" }',
    "4 input_dim, not 3": 'input: "data" input_dim: 1 input_dim: 3 input_dim: 8\n',
    "2 input_shape, not 1": 'input: "a" input: "b" input_shape { dim: 1 }\n',
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str) -> None:
    with pytest.raises(PrototxtError, match=r"^<text>:") as caught:
        read_net(REFUSED[message])
    assert message in str(caught.value)


def test_inputs() -> None:
    net = read_net(
        'input: "a" input: "b" input_dim: [1, 3, 8, 9] input_dim: [2, 1, 1, 1]\nlayer { name: "r" type: "ReLU" }'
    )
    assert names(net) == [("input", "Input"), ("r", "ReLU")]
    assert dict(net.inputs) == {"a": (1, 3, 8, 9), "b": (2, 1, 1, 1)}
    assert net.layers[0].tops == ("a", "b") and net.layers[0].line is None
    both = read_net('input: "a" input_shape { dim: 7 } input_dim: [1, 3, 8, 9]\n')
    assert dict(both.inputs) == {"a": (7,)}
    assert dict(read_net('input: "a" input_shape { }\n').inputs) == {"a": ()}
    assert read_net('input: "a"\n').layers == read_net("input_dim: 1\n").layers == ()


def test_fed_blobs_of_layers() -> None:
    net = read_net(
        'layer { type: "Input" top: "x" top: "y" input_param { shape { dim: 1 dim: 2 } } }'
        'layer { type: "Input" top: "u" top: "v" input_param { shape { dim: 1 } shape { dim: 2 } } }'
        'layer { type: "MemoryData" top: "m" top: "l" '
        "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }"
        'layer { type: "Data" top: "d" top: "label" } layer { type: "Input" top: "z" }'
        'layer { type: "DummyData" top: "o" }'
    )
    assert dict(net.inputs) == {
        "x": (1, 2), "y": (1, 2), "u": (1,), "v": (2,), "m": (2, 3, 4, 5), "l": (2,), "d": (), "label": (), "z": ()
    }  # fmt: skip
    assert list(net.inputs) == ["x", "y", "u", "v", "m", "l", "d", "label", "z"]


@pytest.mark.parametrize(
    ("rule", "phase", "level", "stages", "taken"),
    [
        ("", "TEST", 0, (), True),
        ("include { phase: TEST }", "TEST", 0, (), True),
        ("include { phase: TEST }", "TRAIN", 0, (), False),
        ("include { phase: 1 }", "TEST", 0, (), True),
        ("exclude { phase: TRAIN }", "TEST", 0, (), True),
        ("exclude { phase: TRAIN }", "TRAIN", 0, (), False),
        ("include { phase: TRAIN } include { phase: TEST }", "TEST", 0, (), True),
        ("include { min_level: 2 }", "TEST", 0, (), False),
        ("include { min_level: 2 }", "TEST", 2, (), True),
        ("include { max_level: 2 }", "TEST", 3, (), False),
        ("exclude { min_level: 1 max_level: 3 }", "TEST", 2, (), False),
        ("include { stage: 'a' }", "TEST", 0, (), False),
        ("include { stage: 'a' stage: 'b' }", "TEST", 0, ("a",), False),
        ("include { stage: 'a' stage: 'b' }", "TEST", 0, ("b", "a", "c"), True),
        ("include { not_stage: 'a' }", "TEST", 0, ("a",), False),
        ("include { not_stage: 'a' }", "TEST", 0, (), True),
        ("include { phase: TEST stage: 'a' }", "TRAIN", 0, ("a",), False),
        ("include { }", "TRAIN", 0, (), True),
        ("exclude { }", "TRAIN", 0, (), False),
        ("phase: TRAIN", "TEST", 0, (), True),
    ],
)
def test_rules(rule: str, phase: str, level: int, stages: tuple[str, ...], taken: bool) -> None:
    net = read_net(f'layer {{ name: "r" type: "ReLU" {rule} }}', phase, level, stages)
    assert bool(net.layers) is taken
    if rule != "phase: TRAIN":  # which V1 does not have
        v1 = read_net(f'layers {{ name: "r" type: RELU {rule} }}', phase, level, stages)
        assert names(v1) == names(net)


def test_the_callers_state_wins() -> None:
    text = 'state { phase: TRAIN level: 5 stage: "a" }\n'
    assert read_net(text + "layer { include { phase: TRAIN } }").layers == ()
    assert read_net(text + "layer { include { min_level: 1 } }").layers == ()
    assert len(read_net(text + 'layer { include { stage: "a" stage: "b" } }', stages=["b"]).layers) == 1


def test_both_kinds_of_rules_are_refused() -> None:
    with pytest.raises(PrototxtError, match=r"^<text>:2: layer 'r': .*not both"):
        read_net('\nlayer { name: "r" include { phase: TEST } exclude { phase: TRAIN } }')
    with pytest.raises(ValueError, match="TEST"):
        read_net("\n", phase="DEPLOY")
