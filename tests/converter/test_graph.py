"""The graph: wiring, names, matching of weights, errors."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import converter
from converter import (
    FillerWarning,
    NetError,
    UnsupportedLayersError,
    WeightsMismatchError,
    activations,
    load_caffe,
    registry,
)
from converter.graph import Weights, translate
from converter.names import module_name, unique_names
from prototxt import LegacyBlob, read_net

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4\n'


@pytest.fixture(autouse=True)
def forget_registered_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", dict(registry._types))


def conv(name: str, bottom: str, top: str, outputs: int = 3, more: str = "") -> str:
    param = f"convolution_param {{ num_output: {outputs} kernel_size: 1 {more} }}"
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" {param} }}\n'


def relu(name: str, bottom: str, top: str) -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def quiet(text: str) -> torch.fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FillerWarning)
        return load_caffe(text)


def test_an_in_place_layer_does_not_change_the_value_before_it() -> None:
    graph = quiet(INPUT + relu("first", "data", "data") + relu("second", "data", "out"))
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    values = activations(graph, x)
    assert torch.equal(values["data"], x)
    assert torch.equal(values["first"], x.relu())
    assert list(values) == ["data", "first", "second"]


def test_one_output_is_a_tensor_and_several_are_a_dict() -> None:
    x = torch.ones(1, 3, 4, 4)
    assert isinstance(quiet(INPUT + relu("r", "data", "z"))(x), torch.Tensor)
    outputs = quiet(INPUT + relu("r", "data", "z") + relu("s", "data", "a"))(x)
    assert sorted(outputs) == ["a", "z"]


def test_without_weights_fillers_are_reported_and_repeatable() -> None:
    text = INPUT + conv("c", "data", "c", more='weight_filler { type: "xavier" }')
    with pytest.warns(FillerWarning, match="c"):
        first = load_caffe(text)
    assert torch.equal(first.state_dict()["c.weight"], quiet(text).state_dict()["c.weight"])
    assert first.state_dict()["c.weight"].abs().sum() > 0


def test_shared_parameters_are_one_parameter() -> None:
    shared = 'param { name: "w" } param { name: "b" }'
    text = INPUT + "".join(
        f'layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}" {shared} '
        'convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" } } }\n'
        for name in ("left", "right")
    )
    graph = quiet(text)
    assert graph.get_parameter("left.weight") is graph.get_parameter("right.weight")
    assert len(list(graph.parameters())) == 2


def test_names_that_torch_cannot_take() -> None:
    assert module_name("res2a/branch2a") == "res2a/branch2a"
    assert module_name("conv1.a") == "conv1_dot_a"
    assert module_name("type") == "type_"
    assert module_name("lambda") == "lambda_"
    assert unique_names(["fc", "fc", "", "fc#2", ""]) == ["fc", "fc#3", "#1", "fc#2", "#2"]


def test_a_name_cannot_smuggle_code(tmp_path: Path) -> None:
    victim = tmp_path / "ran"
    name = f"x\\\")(data); open('{victim}', 'w'); (\\\""
    graph = quiet(INPUT + relu(name, "data", "y"))
    graph(torch.ones(1, 3, 4, 4))
    assert not victim.exists()
    assert len(activations(graph, torch.ones(1, 3, 4, 4))) == 2


def test_all_unsupported_layers_are_listed_at_once() -> None:
    text = INPUT + 'layer { name: "p" type: "Python" bottom: "data" top: "p" }\n'
    text += 'layer { name: "q" type: "Nonsense" bottom: "p" top: "q" }\n'
    with pytest.raises(UnsupportedLayersError) as error:
        load_caffe(text)
    assert "Python" in str(error.value) and "Nonsense" in str(error.value) and "line 3" in str(error.value)


def test_a_user_can_register_a_layer() -> None:
    @converter.register("TimesBlob")
    def times_blob(params: object, shapes: list[tuple[int, ...]], blobs: converter.Blobs) -> nn.Module:
        class TimesBlob(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.factor = blobs.take((shapes[0][1],))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * self.factor[:, None, None]

        return TimesBlob()

    net = read_net(INPUT + 'layer { name: "t" type: "TimesBlob" bottom: "data" top: "t" }')
    graph = translate(net, Weights({"t": [np.array([1, 2, 3], np.float32)]}))
    assert graph(torch.ones(1, 3, 4, 4))[0, :, 0, 0].tolist() == [1, 2, 3]


def test_a_users_layer_can_pick_its_blobs_by_index() -> None:
    @converter.register("PlusBlob")
    def plus_blob(params: object, shapes: list[tuple[int, ...]], blobs: converter.Blobs) -> nn.Module:
        class PlusBlob(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("term", blobs[0])

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + self.get_buffer("term")

        return PlusBlob()

    net = read_net(INPUT + 'layer { name: "t" type: "PlusBlob" bottom: "data" top: "t" }')
    graph = translate(net, Weights({"t": [np.array([2], np.float32)]}))
    assert float(graph(torch.ones(1, 3, 4, 4)).mean()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INPUT + relu("r", "nope", "r"), "'nope'"),
        (INPUT + conv("a", "data", "x") + conv("b", "data", "x"), "already produced"),
        (INPUT + conv("a", "data", "x", 0), "0 output channels"),
        (INPUT + conv("a", "data", "x", 4, "group: 2"), "cannot be split into 2 groups"),
    ],
)
def test_a_net_that_caffe_refuses(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message) as error:
        load_caffe(text)
    assert str(error.value).startswith("<text>:")


def weights_of(**blobs: list[tuple[int, ...]]) -> Weights:
    return Weights({name: [np.ones(s, np.float32) for s in shapes] for name, shapes in blobs.items()}, "w.caffemodel")


NET = INPUT + conv("a", "data", "a") + conv("b", "a", "b")
GOOD = [(3, 3, 1, 1), (3,)]


def test_matching_is_by_name_and_lists_what_is_unused() -> None:
    graph = translate(read_net(NET), weights_of(a=GOOD, b=GOOD, extra=[(1,)]))
    assert graph.meta["match"].matched == ("a", "b")
    assert graph.meta["match"].unused == ("extra",)


def test_old_style_dims_are_right_aligned_and_shapes_are_not() -> None:
    ones = {name: [np.ones(shape, np.float32) for shape in GOOD] for name in "ab"}
    ones["b"][1] = np.ones((1, 1, 1, 3), np.float32)
    with pytest.raises(WeightsMismatchError, match=r"'b' \(blob 1 has the shape \[1, 1, 1, 3\], expected \[3\]\)"):
        translate(read_net(NET), Weights(ones))
    ones["b"][1] = ones["b"][1].view(LegacyBlob)
    assert translate(read_net(NET), Weights(ones)).meta["match"].matched == ("a", "b")


def test_one_error_names_everything_that_does_not_fit() -> None:
    net = read_net(NET + conv("c", "b", "c") + conv("d", "c", "d"))
    with pytest.raises(WeightsMismatchError) as error:
        translate(net, weights_of(b=[(3, 3, 3, 3), (3,)], c=[(3, 3, 1, 1)]))
    text = str(error.value)
    assert "2 of 4 layers have no weights in it: a, d" in text
    assert "'b' (blob 0 has the shape [3, 3, 3, 3], expected [3, 3, 1, 1])" in text
    assert "'c' (1 blobs, expected 2)" in text
    assert "\n" not in text


def test_lenient_fills_missing_layers_and_still_refuses_wrong_shapes() -> None:
    weights = weights_of(a=GOOD)
    weights.lenient = True
    assert translate(read_net(NET), weights).meta["match"].filled == ("b",)
    wrong = weights_of(a=[(1,), (3,)])
    wrong.lenient = True
    with pytest.raises(WeightsMismatchError):
        translate(read_net(NET), wrong)


def test_a_duplicate_name_gives_its_weights_to_the_first_layer() -> None:
    net = read_net(INPUT + conv("a", "data", "x") + conv("a", "x", "y"))
    weights = weights_of(a=GOOD)
    weights.lenient = True
    graph = translate(net, weights)
    assert float(graph.state_dict()["a.weight"].sum()) == 9
    assert float(graph.state_dict()["a#2.weight"].sum()) == 0
    assert list(activations(graph, torch.ones(1, 3, 4, 4))) == ["data", "a", "a#2"]
