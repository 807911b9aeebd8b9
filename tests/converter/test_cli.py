"""``icnet-convert`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from converter import activations
from converter.cli import main
from converter.compare import LIMIT
from prototxt import read_net, write_weights
from pytorch_icnet import ICNet, load
from pytorch_icnet.weights.convert import normalized

from ..golden import assert_close
from ..nets import blobs_of, net_of, seeded, write_caffemodel

IMAGE = torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(1))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failure(*arguments: object) -> str:
    """The one line of an expected failure."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in result.output
    return lines[0]


@pytest.fixture
def caffemodel(tmp_path: Path) -> Path:
    return write_caffemodel(tmp_path / "net.caffemodel", seeded(merged=False, aux=True))


def test_convert(caffemodel: Path, tmp_path: Path) -> None:
    result = run(caffemodel, "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    assert "128 layers matched" in result.output
    assert "unused   2 layers of the file: conv6_sub2, conv6_sub4" in result.output
    assert result.output.count("verified") == 4
    model = load(tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(model(IMAGE), load(caffemodel)(IMAGE))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["provenance"]["file"] == "net.caffemodel"
    assert [check["what"] for check in report["verification"]] == [
        "converted graph and ICNet",
        "folded and unfolded",
        "float32 and float64",
        "graph and formulas",
    ]
    assert len(report["layers"]) == 220


def test_folding_is_an_option(caffemodel: Path, tmp_path: Path) -> None:
    assert run(caffemodel, "--fold-bn", "--output", tmp_path / "folded.safetensors").exit_code == 0
    model = load(tmp_path / "folded.safetensors")
    assert isinstance(model, ICNet) and model.merged
    assert_close(activations(model, IMAGE), normalized(activations(load(caffemodel), IMAGE)), LIMIT, expected=[])


def test_a_published_name_with_other_content_stops(caffemodel: Path, tmp_path: Path) -> None:
    file = caffemodel.rename(tmp_path / "icnet_cityscapes_train_30k.caffemodel")
    line = failure(file)
    assert "c7038630c4b6c869afaaadd811bdb539" in line and "--allow-md5-mismatch" in line
    assert not (tmp_path / "icnet_cityscapes_train_30k.safetensors").exists()
    assert run(file, "--allow-md5-mismatch").exit_code == 0


@pytest.mark.parametrize("content", [b"", b"<html></html>", b'layer { name: "x" }', bytes(100)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.caffemodel"
    file.write_bytes(content)
    assert "bad.caffemodel" in failure(file)
    assert list(tmp_path.iterdir()) == [file]


def test_another_nets_weights_are_refused(tmp_path: Path) -> None:
    net = read_net(NET)
    file = tmp_path / "other.caffemodel"
    write_weights(file, net, {"fc": [np.ones((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)]})
    assert "not the weights of an ICNet" in failure(file)


NET = """
name: "small"
input: "data" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 5
layer { name: "fc" type: "Convolution" bottom: "data" top: "fc" convolution_param { num_output: 2 kernel_size: 1 } }
"""


def test_another_net(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    weights = {"fc": [np.ones((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)]}
    write_weights(tmp_path / "w.caffemodel", read_net(NET), weights)
    result = run(tmp_path / "w.caffemodel", "--prototxt", tmp_path / "net.prototxt")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "w.safetensors").exists()


def test_a_faulty_prototxt_is_located(tmp_path: Path, caffemodel: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text('name: "x"\nlayer { name: "a" tipe: "ReLU" }\n')
    assert failure(caffemodel, "--prototxt", net).partition("net.prototxt:")[2].startswith("2:")


def test_a_wrong_shape_leaves_nothing(tmp_path: Path) -> None:
    blobs = blobs_of(seeded())
    net = net_of(blobs)
    blobs["conv_sub2"] = [blobs["conv_sub2"][0][:, 1:], blobs["conv_sub2"][1]]
    write_weights(tmp_path / "a.caffemodel", net, blobs)
    assert "'conv_sub2' (blob 0 has the shape" in failure(tmp_path / "a.caffemodel")
    assert not (tmp_path / "a.safetensors").exists()


def test_a_folder_that_cannot_be_written(caffemodel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in failure(caffemodel, "--output", tmp_path / "file" / "out.safetensors")


def test_summary_needs_no_weights(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    result = run(tmp_path / "net.prototxt", "--summary", "--json", tmp_path / "s.json")
    assert result.exit_code == 0 and "2 layers, 8 parameters" in result.output
    assert json.loads((tmp_path / "s.json").read_text())[1]["macs"] == 150


def test_wrong_use() -> None:
    assert run().exit_code == 2
    assert run("--nonsense").exit_code == 2
    assert run("--version").output.startswith("icnet-convert ")
    assert "Convolution" in run("--layers").output
