"""One-layer nets against what the original Caffe computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from converter import activations, registry
from converter.compare import differences, first_diverging
from converter.graph import translate
from converter.layers.inputs import INPUT_TYPES
from converter.match import Weights
from prototxt import Net, read_net, read_weights

from ..golden import DATA, arrays, assert_close

FILES = sorted((DATA / "ops").glob("*.prototxt"))
NOISE = 1e-5
BOUNDS = {"Interp": 1e-6, "Pooling": 1e-6}
"""Resizing and pooling add few numbers; the others sum many in an order of their own."""


def supported(net: Net) -> Net:
    return dataclasses.replace(
        net,
        layers=tuple(layer for layer in net.layers if layer.type in INPUT_TYPES or registry.find(layer.type)),
    )


def run(path: Path) -> tuple[Net, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    net = supported(read_net(path))
    weights = path.with_suffix(".caffemodel")
    graph = translate(net, Weights(read_weights(weights) if weights.exists() else None, str(weights)))
    stored = arrays(path.with_suffix(".npz"))
    inputs = []
    for name in net.inputs:
        keys = (f"in:{name}", f"out:input:{name}", "out:input")
        inputs.append(stored[next(key for key in keys if key in stored)])
    references = {key.removeprefix("out:"): value for key, value in stored.items() if key.startswith("out:")}
    return net, activations(graph, *inputs), references


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_layers_equal_caffe(path: Path) -> None:
    net, values, references = run(path)
    compared = 0
    for layer in net.layers:
        if layer.name in references and layer.type not in INPUT_TYPES:
            reference = {layer.name: references[layer.name]}
            assert_close(values, reference, BOUNDS.get(layer.type, NOISE))
            compared += 1
    assert compared, "nothing was compared"


def test_a_wrong_resize_is_noticed() -> None:
    _, values, references = run(DATA / "ops" / "interp_13x18.prototxt")
    values["zoom2"] = torch.nn.functional.interpolate(
        arrays(DATA / "ops" / "interp_13x18.npz")["in:data"], references["zoom2"].shape[2:], mode="bilinear"
    )
    diverging = first_diverging(differences(values, references), BOUNDS["Interp"])
    assert diverging is not None and diverging.layer == "zoom2"


def test_a_padded_average_with_torchs_divisor_is_noticed() -> None:
    net, _, references = run(DATA / "ops" / "pool_7x8.prototxt")
    stored = arrays(DATA / "ops" / "pool_7x8.npz")
    wrong = 0
    for layer in net.layers:
        params = layer.params
        if layer.type == "Pooling" and params.pool == "AVE" and params.is_set("kernel_size") and params.pad:
            other = torch.nn.functional.avg_pool2d(
                stored["in:data"], params.kernel_size, params.stride, params.pad, True, False
            )
            wrong += bool(first_diverging(differences({layer.name: other}, references), BOUNDS["Pooling"]))
    assert wrong
