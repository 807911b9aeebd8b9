"""The table and the picture of a verification, and the command that writes them."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import cv2
import pytest
import torch
from click.testing import CliRunner, Result

from converter import activations, load_caffe
from converter.cli import main
from converter.compare import Difference
from converter.dump import read_dump
from converter.report import COLUMNS, PlotError, write_csv, write_picture
from converter.verify import Unchecked, Verification, against_dump
from prototxt import write_weights

from ..golden import shared
from .test_verify import TEXT, blobs, by_layer, good, net, store

TYPES = {"data": "Input", "a$b$": "Convolution", "a\\frac{$": "ReLU", "c": "Softmax", "d": "Pooling"}
CHECKS = [
    Verification(
        "graph and caffe$.npz",
        [
            Difference("a$b$", 0, 0),
            Difference("a\\frac{$", 1e-6, 2e-6),
            Difference("c", 3, 1.5),
            Difference("d", math.inf, math.inf),
        ],
        1e-4,
    ),
    Verification("graph and formulas", [Difference("c", 0, 0)], 1e-6, (Unchecked("d", "too large"),), False),
    Verification("accumulated", [Difference("c", 1, 1)], math.inf),
]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_table(tmp_path: Path) -> None:
    write_csv(tmp_path / "v.csv", CHECKS, TYPES)
    header, *rows = rows_of(tmp_path / "v.csv")
    assert tuple(header) == COLUMNS
    assert rows == [
        ["graph and caffe$.npz", "1", "a$b$", "Convolution", "0", "0", "0.0001", "equal"],
        ["graph and caffe$.npz", "2", "a\\frac{$", "ReLU", "1e-06", "2e-06", "0.0001", "close"],
        ["graph and caffe$.npz", "3", "c", "Softmax", "3", "1.5", "0.0001", "first divergence"],
        ["graph and caffe$.npz", "4", "d", "Pooling", "inf", "inf", "0.0001", "diverges"],
        ["graph and formulas", "3", "c", "Softmax", "0", "0", "1e-06", "equal"],
        ["graph and formulas", "4", "d", "Pooling", "", "", "1e-06", "unchecked: too large"],
        ["accumulated", "3", "c", "Softmax", "1", "1", "inf", "close"],
    ]


@pytest.mark.parametrize("more", [0, 200])
def test_picture(more: int, tmp_path: Path) -> None:
    write_picture(tmp_path / "v.png", CHECKS, TYPES | {f"layer{i}" * 20: "ReLU" for i in range(more)})
    picture = cv2.imread(str(tmp_path / "v.png"))
    assert picture is not None and picture.shape[0] > 500 and picture.shape[1] > 900
    red = (picture[..., 2] > 200) & (picture[..., 1] < 60) & (picture[..., 0] < 60)
    assert red.sum() > 50, "the first divergence is marked"
    write_picture(tmp_path / "w.png", [CHECKS[1]], TYPES)
    picture = cv2.imread(str(tmp_path / "w.png"))
    assert picture is not None
    assert not ((picture[..., 2] > 200) & (picture[..., 1] < 60) & (picture[..., 0] < 60)).any()


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotError, match=r"it needs matplotlib \(pip install 'pytorch-icnet\[plot\]'\)"):
        write_picture(tmp_path / "v.png", CHECKS, TYPES)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    (tmp_path / "net.prototxt").write_text(TEXT)
    write_weights(tmp_path / "net.caffemodel", net(), blobs())
    store(tmp_path / "caffe.npz", by_layer(good()))
    return [tmp_path / "net.caffemodel", "--prototxt", tmp_path / "net.prototxt", "--reference", tmp_path / "caffe.npz"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_convert_compares_with_caffe(files: list[object], tmp_path: Path) -> None:
    result = run(*files, "--report", tmp_path / "report", "--json", tmp_path / "v.json")
    assert result.exit_code == 0, result.output
    checks = ["float32 and float64, accumulated", "float32 and float64", "graph and formulas", "graph and caffe.npz"]
    assert [line.split(":")[0] for line in result.output.splitlines() if line.startswith("verified")] == [
        f"verified {check}" for check in checks
    ]
    rows = rows_of(tmp_path / "report/verification.csv")[1:]
    assert list(dict.fromkeys(row[0] for row in rows)) == checks
    assert (tmp_path / "report/verification.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "v.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert [check["limit"] for check in report["verification"]] == [None, 3e-5, 1e-6, 1e-4]


def test_a_divergence_ends_the_conversion(files: list[object], tmp_path: Path) -> None:
    values = by_layer(good())
    values["sum"] = values["sum"] * 1.001
    store(tmp_path / "caffe.npz", values)
    result = run(*files, "--no-verify", "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert "graph and caffe.npz diverge first at layer 'sum'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "net.safetensors").exists()
    verdicts = {row[2]: row[7] for row in rows_of(tmp_path / "report/verification.csv")}
    assert verdicts["sum"] == "first divergence" and verdicts["ip"] in ("equal", "close")
    assert run(*files, "--no-verify", "--tolerance", "0.01").exit_code == 0
    assert run(*files[:3], "--tolerance", "1e-20").exit_code == 1


def test_activations_that_cannot_be_read(files: list[object], tmp_path: Path) -> None:
    (tmp_path / "caffe.npz").write_bytes(b"hello")
    result = run(*files)
    assert result.exit_code == 1 and "not an npz file" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert run(*files[:-1], tmp_path / "absent").exit_code == 1


def test_another_size_than_the_text_says(files: list[object], tmp_path: Path) -> None:
    larger = torch.randn(2, 4, 15, 13, generator=torch.Generator().manual_seed(0))
    store(tmp_path / "caffe.npz", {name: value.numpy() for name, value in activations(good(), larger).items()})
    result = run(*files, "--no-verify")
    assert result.exit_code == 0, result.output


def test_icnet_against_the_original_caffe(tmp_path: Path) -> None:
    folder = shared("golden", "icnet")
    result = run(
        folder / "icnet_bnnomerge_rand.caffemodel",
        *("--reference", folder / "bnnomerge_129x257.npz", "--report", tmp_path),
        *("--no-verify", "--output", tmp_path / "net.safetensors"),
    )
    assert result.exit_code == 0, result.stderr
    rows = rows_of(tmp_path / "verification.csv")[1:]
    assert rows and all(row[7] in ("equal", "close") for row in rows)


def test_the_trained_detector_against_the_original_caffe() -> None:
    path = shared("golden", "models", "mtcnn_det2.prototxt")
    graph = load_caffe(path, path.with_suffix(".caffemodel"))
    check = against_dump(graph, read_dump(path.with_suffix(".npz")))
    assert check.diverging is None and len(check.layers) == 13
