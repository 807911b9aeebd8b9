"""The formulas against what the original Caffe computed."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import converter.reference
from converter.reference import NoReferenceError, forward, reference, types
from prototxt import Layer, Net, bundled_net, read_net, read_weights
from pytorch_icnet.weights.caffe import resized_net

from ..golden import DATA, SHARED, shared
from .goldens import distance, final_values, read_json, seeded_blobs

NOISE = 1e-6
"""Caffe's own float32 noise in one layer."""
CASES = SHARED / "golden/formats/cases/ops.json"
OTHERWISE = {"float_nan": "its BLAS takes a scale of NaN for 0 and clears the blob"}
NETS = sorted(path.parent.name for path in (SHARED / "golden/nets").glob("*/golden.npz"))
LARGE = ("fcn8s_128x160", "pspnet50_ADE20K_473")
"""Half a minute each."""
FOLDERS = [DATA / "ops", SHARED / "golden/ops"]
OPS = {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.prototxt"))}


def run_ops(net: Net, path: Path) -> tuple[list[list[converter.reference.registry.Array]], dict[str, np.ndarray]]:
    stored = dict(np.load(path.with_suffix(".npz")))
    inputs = {}
    for name in net.inputs:
        inputs[name] = next(stored[k] for k in (f"in:{name}", f"out:input:{name}", "out:input") if k in stored)
    weights = path.with_suffix(".caffemodel")
    return forward(net, inputs, read_weights(weights) if weights.exists() else {}), stored


@pytest.mark.parametrize("path", OPS.values(), ids=OPS.keys())
def test_one_layer_nets(path: Path) -> None:
    net = read_net(path)
    tops, stored = run_ops(net, path)
    far = {}
    compared = 0
    for layer, values in zip(net.layers, tops, strict=True):
        if layer.bottoms and f"out:{layer.name}" in stored:
            compared += 1
            far[layer.name] = distance(values[0], stored[f"out:{layer.name}"])
    assert compared > 5
    assert max(far.values()) < NOISE, max(far, key=far.__getitem__)


def test_a_wrong_parameter_is_noticed() -> None:
    path = DATA / "ops" / "pool_7x8.prototxt"
    net = read_net(path)
    wrong = [
        dataclasses.replace(layer, params=layer.params.replace(stride=layer.params.stride + 1))
        if layer.type == "Pooling" and not layer.params.global_pooling and not layer.params.is_set("stride_h")
        else layer
        for layer in net.layers
    ]
    tops, stored = run_ops(dataclasses.replace(net, layers=tuple(wrong)), path)
    changed = [
        (layer.name, values)
        for layer, before, values in zip(wrong, net.layers, tops, strict=True)
        if layer is not before
    ]
    assert changed
    assert all(distance(values[0], stored[f"out:{name}"]) > 0.01 for name, values in changed)


@pytest.mark.parametrize("case", read_json(CASES)["cases"] if CASES.exists() else [], ids=lambda case: case["case"])
def test_cases(case: dict[str, object]) -> None:
    name = str(case["case"])
    if name in OTHERWISE:
        pytest.skip(f"Caffe's value says nothing about the formula: {OTHERWISE[name]}")
    stored = np.load(CASES.with_name("ops.npz"))
    net = read_net(CASES.parent / str(case["prototxt"]))
    blobs = {layer["name"]: seeded_blobs(layer) for layer in case["layers"]}  # type: ignore[attr-defined]
    inputs = {blob: stored[f"in|{name}|{blob}"] for blob in case["inputs"]}  # type: ignore[attr-defined]
    values = final_values(net.layers, forward(net, inputs, blobs))
    for blob in case["outputs"]:  # type: ignore[attr-defined]
        assert distance(values[blob], stored[f"out|{name}|{blob}"]) < 1e-5, blob


@pytest.mark.parametrize("name", ["mtcnn_det1", "mtcnn_det2"])
def test_trained_detectors(name: str) -> None:
    path = shared("golden", "models", f"{name}.prototxt")
    net = read_net(path)
    stored = np.load(path.with_suffix(".npz"))
    tops = forward(net, {"data": stored["in:data"]}, read_weights(path.with_suffix(".caffemodel")))
    far = {
        layer.name: distance(values[0], stored[layer.name])
        for layer, values in zip(net.layers, tops, strict=True)
        if layer.bottoms
    }
    assert len(far) > 8
    assert max(far.values()) < NOISE


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in NETS])
def test_whole_nets(name: str) -> None:
    folder = shared("golden", "nets", name)
    manifest, shapes = read_json(folder / "manifest.json"), read_json(folder / "shapes.json")
    stored = np.load(folder / "golden.npz")
    net = read_net(folder / "net.prototxt")
    blobs = {
        layer["name"]: seeded_blobs(layer, manifest["gain"], manifest["bn_scale"])
        for layer in shapes["layers"]
        if layer["params"]
    }
    values = final_values(net.layers, forward(net, {key: stored[f"in:{key}"] for key in net.inputs}, blobs))
    for key in stored.files:
        if key.startswith("out:"):
            blob = key.removeprefix("out:")
            stride = manifest["stride"].get(blob)
            value = values[blob].reshape(-1)[::stride] if stride else values[blob]
            assert distance(value, stored[key]) < 5e-6, blob


def test_icnet_layer_by_layer() -> None:
    folder = shared("golden", "icnet")
    stored = np.load(folder / "bnnomerge_97x161_all_layers.npz")
    pyramid = read_json(folder / "pyramid_windows.json")["97x161"]
    net = resized_net(read_net(bundled_net("icnet_cityscapes_bnnomerge")), (97, 161), pyramid)
    tops = forward(net, {"data": stored["data"]}, read_weights(folder / "icnet_bnnomerge_rand.caffemodel"))
    compared = 0
    for layer, values in zip(net.layers, tops, strict=True):
        if layer.bottoms:
            compared += 1
            assert distance(values[0], stored[layer.name]) < 3e-5, layer.name
    assert compared == len(stored.files) - 1


def test_nothing_here_knows_torch_or_the_translators() -> None:
    folder = Path(converter.reference.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] != "torch" for alias in node.names), path.name
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1 and node.module != "torch" and not str(node.module).startswith("converter")


def test_a_type_without_formula_is_told() -> None:
    layer = Layer("p", "Python", ("x",), ("y",), read_net("layer { name: 'a' type: 'Split' }").layers[0].params)
    assert "Python" not in types()
    with pytest.raises(NoReferenceError, match="'Python'"):
        reference(layer, [np.zeros(1)], [])
