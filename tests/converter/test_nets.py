"""Whole nets against the original Caffe: public architectures with seeded weights, and trained detectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

from converter import activations, load_caffe, summary
from converter.compare import Difference, difference, differences, first_diverging, worst
from converter.graph import Weights, translate
from prototxt import read_net

from ..golden import SHARED, arrays, shared
from ..reference.goldens import read_json, seeded_blobs

NETS = sorted(path.parent.name for path in (SHARED / "golden/nets").glob("*/golden.npz"))
LARGE = ("fcn8s_128x160", "pspnet50_ADE20K_473")
FORMATS = ("det2_doubledata", "det2_legacydims", "det2_withdiff")
CONVOLUTIONS_ONLY = ("det2_v0_convonly", "det2_v1_convonly")
LEAST, UNKNOWN = 1e-5, 1e-4
"""Bounds for a blob: at least LEAST; UNKNOWN where Caffe's own float32 noise was not measured."""


def final_values(graph: fx.GraphModule, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The last value of every blob: what Caffe's blobs hold after a forward pass."""
    values: dict[str, torch.Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.op == "placeholder":
                values[n.meta["caffe"]] = value
            elif "caffe_layer" in n.meta:
                tops = value if isinstance(value, tuple) else (value,)
                values.update(zip(n.meta["caffe_layer"].layer.tops, tops, strict=False))
            return value

    with torch.no_grad():
        Recorder(graph).run(*inputs)
    return values


def seeded_graph(name: str) -> fx.GraphModule:
    folder = shared("golden", "nets", name)
    manifest, shapes = read_json(folder / "manifest.json"), read_json(folder / "shapes.json")
    blobs = {
        layer["name"]: seeded_blobs(layer, manifest["gain"], manifest["bn_scale"])
        for layer in shapes["layers"]
        if layer["params"]
    }
    return translate(read_net(folder / "net.prototxt"), Weights(blobs, "seeded"))


def compared(name: str, graph: fx.GraphModule) -> list[tuple[Difference, float]]:
    """The difference of each blob of the reference, in the net's order, and its bound."""
    folder = shared("golden", "nets", name)
    manifest = read_json(folder / "manifest.json")
    references = arrays(folder / "golden.npz", "out:")
    inputs = arrays(folder / "golden.npz", "in:")
    values = final_values(graph, [inputs[node.meta["caffe"]] for node in graph.graph.nodes if node.op == "placeholder"])
    assert set(references) <= set(values)
    found = []
    for blob, value in values.items():
        if blob in references:
            stride = manifest["stride"].get(blob)
            noise = (manifest["f32_vs_f64"] or {}).get(blob)
            bound = UNKNOWN if noise is None or math.isnan(noise) else max(LEAST, 3 * noise)
            found.append((difference(blob, value.flatten()[::stride] if stride else value, references[blob]), bound))
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in NETS])
def test_seeded_nets_equal_caffe(name: str) -> None:
    found = compared(name, seeded_graph(name))
    beyond = [difference for difference, bound in found if not difference.relative <= bound]
    print(f"{name}: {len(found)} blobs, {worst([difference for difference, _ in found])}")
    assert not beyond, f"first diverging blob {beyond[0]}"


def test_a_lost_group_is_noticed() -> None:
    graph = seeded_graph("mobilenet_v2")
    weight = graph.get_parameter("conv3_1/dwise.weight").data
    weight[0] = weight[1]  # as if two channels shared a filter
    found = compared("mobilenet_v2", graph)
    assert any(not difference.relative <= bound for difference, bound in found)


def test_an_ignored_batch_norm_factor_is_noticed() -> None:
    graph = seeded_graph("resnet18_bn999")
    factors = [buffer for name, buffer in graph.named_buffers() if name.endswith(".factor")]
    assert len(factors) == 21
    for factor in factors:
        factor.fill_(1.0)
    assert any(not difference.relative <= bound for difference, bound in compared("resnet18_bn999", graph))


@pytest.mark.parametrize("name", NETS)
def test_shapes_equal_caffe(name: str) -> None:
    """Before a forward pass, when Caffe too knows only shapes."""
    folder = shared("golden", "nets", name)
    expected = [
        {
            "name": layer["name"],
            "type": layer["type"],
            "tops": [top["name"] for top in layer["tops"]],
            "top_shapes": [top["shape"] for top in layer["tops"]],
            "param_shapes": layer["params"],
        }
        for layer in read_json(folder / "shapes.json")["layers"]
        if layer["type"] != "Split"
    ]
    rows = summary(folder / "net.prototxt")
    if expected[0]["type"] != "Input" and rows[0]["type"] == "Input":
        rows = rows[1:]  # the build of that net had no layer for its inputs
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected


def detector_differences(weights: Path, reference: str = "", *, lenient: bool = False) -> list[Difference]:
    """Layer by layer, of a trained detector with these weights."""
    folder = shared("golden", "models")
    name = "mtcnn_det1" if "det1" in weights.name else "mtcnn_det2"
    graph = load_caffe(folder / f"{name}.prototxt", weights, lenient=lenient)
    stored = arrays(folder / f"{name}.npz")
    values = activations(graph, stored["in:data"])
    references = arrays(shared("golden", "formats", reference)) if reference else stored
    assert {key for key in references if not key.startswith("in:")} < set(values)
    return differences(values, references)


@pytest.mark.parametrize("weights", ["mtcnn_det1", "mtcnn_det2", *FORMATS])
def test_trained_detectors_equal_caffe(weights: str) -> None:
    found = detector_differences(
        shared("golden", "formats" if weights in FORMATS else "models", f"{weights}.caffemodel")
    )
    print(f"{weights}: {len(found)} layers, {worst(found)}")
    assert len(found) > 8 and first_diverging(found, LEAST) is None


@pytest.mark.parametrize("weights", CONVOLUTIONS_ONLY)
@pytest.mark.filterwarnings("ignore::converter.FillerWarning")
def test_old_files_without_prelu_keep_its_filler(weights: str) -> None:
    path = shared("golden", "formats", f"{weights}.caffemodel")
    found = detector_differences(path, "det2_convonly_expected.npz", lenient=True)
    print(f"{weights}: {len(found)} layers, {worst(found)}")
    assert len(found) > 8 and first_diverging(found, LEAST) is None


@pytest.mark.filterwarnings("ignore::converter.FillerWarning")
def test_other_prelu_slopes_are_noticed() -> None:
    path = shared("golden", "formats", f"{CONVOLUTIONS_ONLY[0]}.caffemodel")
    diverging = first_diverging(detector_differences(path, lenient=True), LEAST)
    assert diverging is not None and diverging.layer == "prelu1"
