"""Faults that verification must find, in the layer that has them, and what it must not take for faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

import converter.verify
from converter import activations, registry
from converter.compare import difference, worst
from converter.dump import DumpError, read_dump
from converter.graph import Weights, translate
from converter.verify import (
    FORMULA_LIMIT,
    accumulated,
    against_dump,
    against_float64,
    against_formulas,
    sampling,
    seeded_inputs,
    work_of,
)
from prototxt import Net, Params, read_net

from ..golden import shared
from ..reference.goldens import read_json, seeded_blobs

Blobs = dict[str, list[NDArray[Any]]]
SHAPES = {
    "conv1": [(6, 2, 3, 3), (6,)],
    "branch/a": [(6, 6, 1, 1), (6,)],
    "branch/b": [(6, 6, 1, 1), (6,)],
    "ip": [(3, 6), (3,)],
}
TEXT = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 9 dim: 11 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "branch/a" type: "Convolution" bottom: "conv1" top: "branch/a"
        convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "branch/b" type: "Convolution" bottom: "conv1" top: "branch/b"
        convolution_param { num_output: 6 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "branch/a" bottom: "branch/b" top: "sum"
        eltwise_param { coeff: 0.5 coeff: 2 } }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def net() -> Net:
    return read_net(TEXT)


def blobs() -> Blobs:
    random = np.random.default_rng(0)
    return {
        name: [random.standard_normal(shape).astype(np.float32) for shape in shapes] for name, shapes in SHAPES.items()
    }


def good() -> fx.GraphModule:
    return translate(net(), Weights(blobs()))


def image(seed: int = 1) -> torch.Tensor:
    return torch.randn(1, 4, 9, 11, generator=torch.Generator().manual_seed(seed))


def break_translator(monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[Params], Params]) -> None:
    """From now on layers of this type are translated as if the text had other parameters."""
    right = registry.registered()[kind]

    def wrong(params: Params, shapes: list[tuple[int, ...]], blobs: Any, **more: Any) -> nn.Module:
        return right.translate(change(params), shapes, blobs, **more)

    monkeypatch.setitem(registry._types, kind, dataclasses.replace(right, translate=wrong))


def test_a_right_net_is_right() -> None:
    graph = good()
    for check in (against_float64(graph, image()), against_formulas(graph, image(), blobs=blobs())):
        assert [item.layer for item in check.layers] == [layer.name for layer in net().layers[1:]]
        assert check.diverging is None and not check.unchecked and not check.accumulates
    assert worst(against_formulas(graph, image()).layers).relative < 1e-14
    assert len(accumulated(graph, image()).layers) == len(net().layers)


def test_a_broken_stride_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    break_translator(
        monkeypatch, "Convolution", lambda p: p.replace(stride=(1,)) if p.is_set("stride") and p.stride == (2,) else p
    )
    check = against_formulas(good(), image())
    assert check.diverging is not None and check.diverging.layer == "conv1"
    assert [item.layer for item in check.layers if item.relative > FORMULA_LIMIT] == ["conv1"]


def test_swapped_coefficients_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    break_translator(monkeypatch, "Eltwise", lambda p: p.replace(coeff=tuple(reversed(p.coeff))))
    check = against_formulas(good(), image())
    assert [item.layer for item in check.layers if item.relative > FORMULA_LIMIT] == ["sum"]


def test_permuted_channels_are_found_with_the_files_weights() -> None:
    graph = good()
    graph.get_parameter("branch/b.weight").data = graph.get_parameter("branch/b.weight").data.flip(1)
    check = against_formulas(graph, image(), blobs=blobs())
    assert [item.layer for item in check.layers if item.relative > FORMULA_LIMIT] == ["branch/b"]
    assert against_formulas(graph, image()).diverging is None, "without the file's weights these are the net's"


def test_a_layer_that_loses_precision_is_found() -> None:
    class Half(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clamp(min=0).half().to(x.dtype) if x.dtype == torch.float32 else x.clamp(min=0)

    graph = good()
    graph.add_submodule("relu1", Half())
    check = against_float64(graph, image())
    assert [item.layer for item in check.layers if item.relative > check.limit] == ["relu1"]


def test_what_is_too_large_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter.verify, "MOST_WORK", 1000 * 5 * 6 + 250)
    check = against_formulas(good(), image())
    assert {item.layer for item in check.unchecked} == {"conv1", "relu1", "branch/a", "branch/b", "sum"}
    assert {item.reason for item in check.unchecked} == {"too large for the slow reference"}
    assert [item.layer for item in check.layers] == ["pool", "ip", "prob"]
    assert work_of([(1, 64, 100, 100)], [(64, 32, 3, 3)]) > 64 * 10_000 * 32 * 9


def test_a_users_own_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._types, "Gain", dataclasses.replace(registry.registered()["AbsVal"], name="Gain"))
    text = "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }"
    graph = translate(read_net(f"{text} layer {{ name: 'g' type: 'Gain' bottom: 'x' top: 'g' }}"), Weights())
    check = against_formulas(graph, torch.ones(2))
    assert not check.layers
    assert [(item.layer, item.reason) for item in check.unchecked] == [("g", "no formula for layers of type 'Gain'")]


def test_random_inputs_are_legal() -> None:
    text = """
    layer { name: "d" type: "Input" top: "x" top: "label" top: "w" input_param {
            shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } shape { dim: 2 } } }
    layer { name: "s" type: "Reshape" bottom: "label" top: "flat" reshape_param { shape { dim: -1 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "flat" top: "loss" }
    layer { name: "e" type: "Embed" bottom: "w" top: "e" embed_param { num_output: 2 input_dim: 1 } }
    """
    net = read_net(text)
    x, label, word = seeded_inputs(net)
    assert x.abs().max() > 1 and not label.any() and not word.any()
    assert against_formulas(translate(net, Weights()), x, label, word).diverging is None


# ------------------------------------------------------------------------------------------ activations of a real Caffe


def store(path: Path, values: dict[str, NDArray[Any]]) -> None:
    np.savez(path, **values)  # type: ignore[arg-type]


def by_layer(graph: fx.GraphModule) -> dict[str, NDArray[Any]]:
    """What a Caffe that stops after each layer stores."""
    return {name: value.numpy() for name, value in activations(graph, image()).items()}


def by_blob(graph: fx.GraphModule) -> dict[str, NDArray[Any]]:
    """What pycaffe's ``net.blobs`` holds after a forward pass: no layer that works in place, and copies."""
    values = by_layer(graph)
    values["conv1"] = values.pop("relu1")
    for copy in range(2):
        values[f"conv1_relu1_0_split_{copy}"] = values["conv1"]
    return values


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "caffe.npz"
    store(path, by_layer(good()))
    return path


def test_activations_by_layer(stored: Path) -> None:
    check = against_dump(good(), read_dump(stored))
    assert [item.layer for item in check.layers] == [layer.name for layer in net().layers[1:]]
    assert check.diverging is None and not check.unchecked


def test_activations_by_blob(tmp_path: Path) -> None:
    store(tmp_path / "caffe.npz", by_blob(good()))
    check = against_dump(good(), read_dump(tmp_path / "caffe.npz"))
    assert "conv1" not in {item.layer for item in check.layers}, "before the ReLU the blob is gone"
    assert "relu1" in {item.layer for item in check.layers}
    assert check.diverging is None and not check.unchecked


def test_a_few_layers_whose_names_are_blobs(tmp_path: Path) -> None:
    """Nothing in the file tells whether conv1 is meant before or after the ReLU that works in place."""
    path = tmp_path / "caffe.npz"
    for values in (by_layer(good()), by_blob(good())):
        few = {name: values[name] for name in ("data", "conv1", "sum")}
        store(path, few)
        assert against_dump(good(), read_dump(path)).diverging is None
        store(path, {**few, "conv1": few["conv1"][:, ::-1]})
        assert against_dump(good(), read_dump(path)).diverging is not None


@pytest.mark.parametrize("slash", ["/", "_", "%2F"])
def test_a_folder_of_activations(slash: str, tmp_path: Path) -> None:
    for name, value in by_layer(good()).items():
        path = tmp_path / f"{name.replace('/', slash)}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.asfortranarray(value.astype(np.float64)))
    check = against_dump(good(), read_dump(tmp_path))
    assert len(check.layers) == 8 and check.diverging is None and not check.unchecked


def test_prefixes_and_names_that_the_net_lacks(tmp_path: Path) -> None:
    values = {("in:" if name == "data" else "out:") + name: value for name, value in by_layer(good()).items()}
    store(tmp_path / "caffe.npz", {**values, "out:other": np.ones(3)})
    check = against_dump(good(), read_dump(tmp_path / "caffe.npz"))
    assert len(check.layers) == 8 and check.diverging is None
    assert [item.layer for item in check.unchecked] == ["other"]


def test_every_nth_value_is_enough(tmp_path: Path) -> None:
    values = by_layer(good())
    values["sum"] = values["sum"].reshape(-1)[::7]
    store(tmp_path / "caffe.npz", values)
    assert against_dump(good(), read_dump(tmp_path / "caffe.npz")).diverging is None
    values["sum"] = values["sum"][::-1]
    store(tmp_path / "caffe.npz", values)
    diverging = against_dump(good(), read_dump(tmp_path / "caffe.npz")).diverging
    assert diverging is not None and diverging.layer == "sum"
    for size in (100, 99, 180):
        for step in range(1, 9):
            assert sampling(size, (len(range(0, size, step)),)) in ((step, None) if step > 1 else (None,))


def test_the_first_layer_that_differs_from_caffe_is_named(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_translator(monkeypatch, "Eltwise", lambda p: p.replace(coeff=tuple(reversed(p.coeff))))
    check = against_dump(good(), read_dump(stored))
    assert check.diverging is not None and check.diverging.layer == "sum"
    assert worst(check.layers).relative > 0.1


def test_another_shape_is_a_divergence(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_translator(monkeypatch, "Convolution", lambda p: p.replace(stride=(1,)))
    diverging = against_dump(good(), read_dump(stored)).diverging
    assert diverging is not None and diverging.layer == "conv1" and diverging.relative == np.inf


@pytest.mark.parametrize("name", ["siamese", "mobilenet_ssd", "enet_256x512"])
def test_original_caffe(name: str) -> None:
    folder = shared("golden", "nets", name)
    manifest, shapes = read_json(folder / "manifest.json"), read_json(folder / "shapes.json")
    blobs = {
        layer["name"]: seeded_blobs(layer, manifest["gain"], manifest["bn_scale"])
        for layer in shapes["layers"]
        if layer["params"]
    }
    check = against_dump(translate(read_net(folder / "net.prototxt"), Weights(blobs)), read_dump(folder / "golden.npz"))
    assert check.diverging is None and not check.unchecked
    assert len(check.layers) == len(np.load(folder / "golden.npz").files) - len(manifest["inputs"])


def test_an_input_overwritten_in_place_is_refused(tmp_path: Path) -> None:
    text = "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }"
    graph = translate(read_net(f"{text} layer {{ name: 'r' type: 'ReLU' bottom: 'x' top: 'x' }}"), Weights())
    store(tmp_path / "caffe.npz", {"x": np.ones(2)})
    with pytest.raises(DumpError, match="'x' is not the input any more, as layer 'r' works in place"):
        against_dump(graph, read_dump(tmp_path / "caffe.npz"))
    store(tmp_path / "caffe.npz", {"in:x": -np.ones(2), "x": np.zeros(2)})
    check = against_dump(graph, read_dump(tmp_path / "caffe.npz"))
    assert [(item.layer, item.relative) for item in check.layers] == [("r", 0)]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"conv1": np.ones(3)}, "no array for the input 'data': store it as 'in:data'"),
        ({"data": np.ones((1, 4, 9, 11)), "x": np.ones(3)}, "no array has the name of a layer or blob"),
        ({"data": np.ones((1, 4, 9, 11))}, "only inputs"),
    ],
)
def test_activations_of_something_else(arrays: dict[str, NDArray[Any]], message: str, tmp_path: Path) -> None:
    store(tmp_path / "caffe.npz", arrays)
    with pytest.raises(DumpError, match=message) as error:
        against_dump(good(), read_dump(tmp_path / "caffe.npz"))
    assert str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "exact", "relative"),
    [
        ([1, 2], [1, 4], 0.5),
        ([0, 0.5], [0, 0], 0.5),
        ([1, np.nan], [1, np.nan], 0),
        ([1, np.inf], [1, np.inf], 0),
        ([1, 2], [1, np.nan], np.inf),
        ([1, np.nan], [1, 2], np.inf),
        ([1, -np.inf], [1, np.inf], np.inf),
        ([1, 2], [1], np.inf),
        ([], [], 0),
    ],
)
def test_difference(value: list[float], exact: list[float], relative: float) -> None:
    assert difference("x", torch.tensor(value), torch.tensor(exact)).relative == relative
