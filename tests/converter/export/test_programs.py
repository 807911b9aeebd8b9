"""ONNX models and torch.export programs: proven on the spot, open where the net is, or not written at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import fx

from converter import load_caffe
from converter.compare import difference
from converter.export import onnx as onnx_files
from converter.export.onnx import OPSET, write_onnx
from converter.export.program import BATCH, SIZE, Written, write_pt2
from converter.passes.fold_batch_norm import fold_batch_norm
from icnet_common.errors import InputError
from prototxt import bundled_net

from ...golden import shared
from ..test_nets import NETS, seeded_graph
from .nets import GRAPHS, graph_of, image, inputs_of, layer, outputs_of

LIMIT = 1e-5
Run = Callable[..., dict[str, torch.Tensor]]
Write = Callable[[Path, fx.GraphModule], Written]
FORMATS = {"pt2": write_pt2, "onnx": write_onnx}


def reader(path: Path) -> Run:
    """What runs a file, read as a user would; gives outputs by name, a single one under ``""``."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda *inputs: outputs_of(module(*inputs))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        feeds = {value.name: tensor.numpy() for value, tensor in zip(session.get_inputs(), inputs, strict=True)}
        names = [value.name for value in session.get_outputs()]
        values = dict(zip(names, map(torch.from_numpy, session.run(names, feeds)), strict=True))
        return values if len(values) > 1 else {"": next(iter(values.values()))}

    return run


def worst(run: Run, graph: fx.GraphModule, inputs: list[torch.Tensor]) -> float:
    with torch.no_grad():
        found, expected = run(*inputs), outputs_of(graph(*inputs))
    assert found.keys() == expected.keys()
    return max(difference(name, found[name], value).relative for name, value in expected.items())


@pytest.mark.parametrize("name", [*GRAPHS, "branches folded"])
@pytest.mark.parametrize("kind", FORMATS)
def test_files_compute_what_the_graph_does(tmp_path: Path, kind: str, name: str) -> None:
    name, _, folded = name.partition(" ")
    graph = fold_batch_norm(GRAPHS[name]()) if folded else GRAPHS[name]()
    path = tmp_path / f"net.{kind}"
    written = FORMATS[kind](path, graph)
    assert BATCH in written.opened and written.difference <= LIMIT
    assert (SIZE in written.opened) == (name in ("branches", "siamese", "fully"))
    inputs = inputs_of(graph, seed=1)
    run = reader(path)
    assert worst(run, graph, inputs) <= LIMIT
    assert worst(run, graph, [torch.cat([value, value.flip(-1), -value]) for value in inputs]) <= LIMIT
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_open_size_holds_for_every_size(tmp_path: Path, kind: str) -> None:
    """Caffe's rounding up, padded averages and the last window that is dropped, at sizes of every remainder."""
    graph = GRAPHS["fully"]()
    path = tmp_path / f"net.{kind}"
    FORMATS[kind](path, graph)
    run, generator = reader(path), torch.Generator().manual_seed(0)
    for height in range(24, 40, 3):
        for width in (25, 32, 39):
            data = torch.randn(2, 3, height, width, generator=generator)
            assert worst(run, graph, [data]) <= LIMIT, (height, width)


def test_an_onnx_model_has_the_nets_names_and_no_traces(tmp_path: Path) -> None:
    write_onnx(tmp_path / "net.onnx", GRAPHS["branches"]())
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == OPSET
    assert [value.name for value in model.graph.input] == ["data"]
    assert [value.name for value in model.graph.output] == ["prob", "up"]
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    assert "conv1/3x3.weight" in {value.name for value in model.graph.initializer}
    content = (tmp_path / "net.onnx").read_bytes()
    assert b"stack_trace" not in content and str(Path(__file__).parents[3]).encode() not in content


def test_a_program_holds_neither_inputs_nor_traces(tmp_path: Path) -> None:
    graph = GRAPHS["fully"]()
    write_pt2(tmp_path / "net.pt2", graph)
    content = (tmp_path / "net.pt2").read_bytes()
    assert str(Path(__file__).parents[3]).encode() not in content
    weights = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    assert len(content) < weights + 200_000


def test_a_net_of_fixed_batch_is_written_as_such(tmp_path: Path) -> None:
    reshape = "reshape_param { shape { dim: 1 dim: -1 } }"
    graph = graph_of(image(4, 4) + layer("Reshape", "flat", "data", "flat", reshape)
                     + layer("InnerProduct", "fc", "flat", "fc", "inner_product_param { num_output: 2 }"))  # fmt: skip
    assert write_onnx(tmp_path / "net.onnx", graph).opened == ()
    assert worst(reader(tmp_path / "net.onnx"), graph, inputs_of(graph)) <= LIMIT


DETECTION = (
    'input: "loc" input_shape { dim: 1 dim: 8 }\n'
    'input: "conf" input_shape { dim: 1 dim: 4 }\n'
    'input: "priors" input_shape { dim: 1 dim: 2 dim: 8 }\n'
    + layer("DetectionOutput", "found", "loc conf priors", "found",
            "detection_output_param { num_classes: 2 nms_param { nms_threshold: 0.5 } }")
)  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
def test_shapes_that_depend_on_values_are_refused(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"layer 'found' \(DetectionOutput\) cannot be written") as error:
        FORMATS[kind](tmp_path / f"net.{kind}", graph_of(DETECTION))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"package {missing}: pip install 'pytorch-icnet\[onnx\]'"):
        write_onnx(tmp_path / "net.onnx", GRAPHS["fully"]())


def test_a_wrong_model_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: weights that are off by one in ten thousand."""
    original = onnx_files._model

    def broken(*arguments: object) -> onnx.ModelProto:
        model = original(*arguments)  # type: ignore[arg-type]
        weight = next(value for value in model.graph.initializer if value.name == "score.weight")
        values = onnx.numpy_helper.to_array(weight) * 1.0001
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), "score.weight"))
        return model

    monkeypatch.setattr(onnx_files, "_model", broken)
    with pytest.raises(InputError, match=r"an ONNX model differs from the graph: output '' by .*; nothing was written"):
        write_onnx(tmp_path / "net.onnx", GRAPHS["fully"]())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_the_published_size_with_the_original_caffes_weights(tmp_path: Path, kind: str) -> None:
    weights = shared("golden", "icnet", "icnet_bnnomerge_rand.caffemodel")
    graph = load_caffe(bundled_net("icnet_cityscapes_bnnomerge"), weights)
    written = FORMATS[kind](tmp_path / f"net.{kind}", graph)
    assert written.opened == (BATCH,) and written.difference <= LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", [name for name in NETS if "ssd" not in name and name != "fcn8s_128x160"])
def test_public_architectures(tmp_path: Path, kind: str, name: str) -> None:
    shared("golden", "nets")
    written = FORMATS[kind](tmp_path / f"net.{kind}", seeded_graph(name))
    assert BATCH in written.opened and written.difference <= LIMIT
