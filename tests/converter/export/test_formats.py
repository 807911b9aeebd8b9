"""The command's ``--to``, the judge of what is written, and folders that appear whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from converter import load_caffe
from converter.cli import main
from converter.export.caffe import write_caffe
from converter.export.formats import paths_of
from converter.export.program import check_outputs
from converter.record import original_net
from icnet_common.errors import InputError
from icnet_common.files import atomic_folder
from pytorch_icnet import ICNet, load

from ...nets import seeded, write_caffemodel
from .nets import GRAPHS, graph_of, image, layer


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A net that is no ICNet, as prototxt and caffemodel."""
    paths = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    write_caffe(*paths, GRAPHS["branches"]())
    return paths


def test_every_format_at_once(pair: tuple[Path, Path], tmp_path: Path) -> None:
    text, weights = pair
    formats = "safetensors,pth,pt2,onnx,source,caffe"
    result = run(weights, "--prototxt", text, "--to", formats, "--fold-bn", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    made = ["net", "net.onnx", "net.pt2", "net.pth", "net.safetensors", "net_caffe.caffemodel", "net_caffe.prototxt"]
    there = {"net.caffemodel", "net.prototxt", "r.json"}
    assert {path.name for path in tmp_path.iterdir()} == there | set(made)
    assert result.output.count("written  ") == 6 and "any batch and size" in result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert [output["format"] for output in report["outputs"]] == formats.split(",")
    folded = load_caffe(tmp_path / "net_caffe.prototxt", tmp_path / "net_caffe.caffemodel")
    assert "conv1/bn" not in dict(folded.named_children())
    assert folded.state_dict().keys() == load(tmp_path / "net.safetensors").state_dict().keys()


def test_output_names(pair: tuple[Path, Path], tmp_path: Path) -> None:
    text, weights = pair
    out = tmp_path / "out"
    assert run(weights, "--prototxt", text, "--no-verify", "--to", "pth", "--output", out / "a.bin").exit_code == 0
    assert run(weights, "--prototxt", text, "--no-verify", "--to", "source", "--output", out / "pkg").exit_code == 0
    both = ("--to", "pth", "--to", "safetensors,pth", "--output", out / "b.pth")
    assert run(weights, "--prototxt", text, "--no-verify", *both).exit_code == 0
    caffe = run(weights, "--prototxt", text, "--no-verify", "--to", "caffe", "--output", out / "c.caffemodel")
    assert caffe.exit_code == 0, caffe.output
    made = sorted(path.name for path in out.iterdir())
    assert made == ["a.bin", "b.pth", "b.safetensors", "c.caffemodel", "c.prototxt", "pkg"]


def test_inputs_are_not_overwritten(pair: tuple[Path, Path]) -> None:
    text, weights = pair
    before = weights.read_bytes()
    result = run(weights, "--prototxt", text, "--to", "caffe", "--output", weights)
    assert result.exit_code == 1 and "one of the inputs" in result.stderr
    assert weights.read_bytes() == before


def test_an_unknown_format_is_wrong_use(pair: tuple[Path, Path]) -> None:
    result = run(pair[1], "--prototxt", pair[0], "--to", "pth,tflite")
    assert result.exit_code == 2 and "'tflite' is none of" in result.stderr


def test_icnets_formats_agree(tmp_path: Path) -> None:
    weights = write_caffemodel(tmp_path / "icnet.caffemodel", seeded(merged=False, aux=True))
    result = run(weights, "--no-verify", "--fold-bn", "--to", "safetensors,pth,caffe")
    assert result.exit_code == 0, result.output
    models = [load(tmp_path / name) for name in ("icnet.safetensors", "icnet.pth", "icnet_caffe.caffemodel")]
    states = [model.state_dict() for model in models]
    assert all(isinstance(model, ICNet) and model.merged for model in models)
    for state in states[1:]:
        assert all(torch.equal(state[key], value) for key, value in states[0].items())
    assert "conv6_sub4.weight" in torch.load(tmp_path / "icnet.pth", weights_only=True)


@pytest.mark.parametrize(("base", "name"), [("net", "net"), ("vgg-16.v1", "vgg_16_v1"), ("3d", "_3d")])
def test_a_package_has_a_name_that_python_can_import(base: str, name: str) -> None:
    assert paths_of("source", Path("x") / base) == (Path("x") / name,)


def test_the_judge_lets_float32s_noise_pass_and_nothing_else() -> None:
    """x - 1 of an x near 1 loses digits: two float32 roads to it differ by more than the limit, none is wrong."""
    power = "power_param { scale: 1e-6 shift: 1 }"
    graph = graph_of(image(4, 4) + layer("Power", "p", "data", "p", power)
                     + layer("Power", "q", "p", "q", "power_param { shift: -1 }"))  # fmt: skip
    net = original_net(graph)

    def exact(data: torch.Tensor) -> torch.Tensor:
        return data * 1e-6

    assert check_outputs("exact", graph, net, exact) > 1e-5
    with pytest.raises(InputError, match="wrong differs from the graph"):
        check_outputs("wrong", graph, net, lambda data: exact(data) * 1.1)


def test_missing_outputs_are_noticed() -> None:
    graph = GRAPHS["branches"]()
    with pytest.raises(InputError, match=r"gives \['prob'\], the graph \['prob', 'up'\]"):
        check_outputs("half", graph, original_net(graph), lambda data: {"prob": graph(data)["prob"]})


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "b", lambda _: False) as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, OSError])
def test_a_folder_does_not_appear_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    expected = InputError if error is OSError else error
    with pytest.raises(expected), atomic_folder(tmp_path / "old", lambda _: True) as folder:
        (folder / "file").write_text("new")
        raise error("stop")
    assert (tmp_path / "old" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("mine")
    with pytest.raises(InputError, match="is there already"), atomic_folder(tmp_path / "net", lambda _: True):
        pass
    assert (tmp_path / "net").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="is there already"), atomic_folder(tmp_path / "link", lambda _: True):
        pass
