"""One-layer nets against what the original Caffe computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from converter import activations
from converter.compare import differences, first_diverging
from converter.graph import Weights, translate
from prototxt import Net, read_net, read_weights

from ..golden import DATA, SHARED, arrays, assert_close

FOLDERS = (DATA / "ops", SHARED / "golden/ops")
FILES = {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.prototxt"))}
LIMIT = 1e-6
"""A layer alone adds few numbers."""


def run(path: Path) -> tuple[Net, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The net, the activations by layer, and the original's."""
    net = read_net(path)
    weights = path.with_suffix(".caffemodel")
    graph = translate(net, Weights(read_weights(weights) if weights.exists() else None, str(weights)))
    stored = arrays(path.with_suffix(".npz"))
    inputs = []
    for name in net.inputs:
        keys = (f"in:{name}", f"out:input:{name}", "out:input")
        inputs.append(stored[next(key for key in keys if key in stored)])
    references = {key.removeprefix("out:"): value for key, value in stored.items() if key.startswith("out:")}
    references = {name: value for name, value in references.items() if not name.startswith("input")}
    return net, activations(graph, *inputs), references


@pytest.mark.parametrize("path", FILES.values(), ids=FILES.keys())
def test_layers_equal_caffe(path: Path) -> None:
    net, values, references = run(path)
    layers = [layer.name for layer in net.layers if layer.bottoms]
    assert set(references) == set(layers)
    print(f"{path.stem}: {len(layers)} layers, {assert_close(values, references, LIMIT)}")


def test_a_wrong_resize_is_noticed() -> None:
    _, values, references = run(DATA / "ops" / "interp_13x18.prototxt")
    values["zoom2"] = torch.nn.functional.interpolate(
        arrays(DATA / "ops" / "interp_13x18.npz")["in:data"], references["zoom2"].shape[2:], mode="bilinear"
    )
    diverging = first_diverging(differences(values, references), LIMIT)
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
            wrong += bool(first_diverging(differences({layer.name: other}, references), LIMIT))
    assert wrong
