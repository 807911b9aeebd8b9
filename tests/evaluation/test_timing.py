"""``test_time`` as a user runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from evaluation.timing.cli import main
from evaluation.timing.passes import STAGES, Times, time_layers
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.mmseg import MMSegICNet

from ..nets import seeded, write_caffemodel


@pytest.fixture(autouse=True)
def keep_threads() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_report_log_and_json(tmp_path: Path) -> None:
    weights = write_caffemodel(tmp_path / "w.caffemodel", seeded(merged=False))
    small = ("--height", 65, "--width", 97, "--iterations", 3, "--threads", 1, "--device", "cpu")
    files = ("--log", tmp_path / "time.log", "--json", tmp_path / "t.json")
    result = run("--weights", weights, "--per-layer", *small, *files)
    assert result.exit_code == 0, result.output
    assert re.search(r"conv1_1_3x3_s2 forward: [\d.e-]+ ms\.", result.output)
    assert re.search(r"Average Forward pass: [\d.e-]+ ms\.", result.output)
    assert "33~36 ms on a TitanX" in result.output and "another machine" in result.output
    assert (tmp_path / "time.log").read_text() == result.output
    report = json.loads((tmp_path / "t.json").read_text())
    assert (report["height"], report["width"], report["threads"], report["precision"]) == (65, 97, 1, "fp32")
    assert len(report["forward_ms"]["passes"]) == 3
    assert report["forward_ms"]["min"] == min(report["forward_ms"]["passes"])
    assert report["weights"]["file"] == "w.caffemodel"
    assert "conv1_1_3x3_s2/bn" not in report["layers_ms"], "the merged net is timed"
    assert report["backend"] in result.output and report["rewritten"]
    road = report["road_ms"]
    assert list(road) == [*STAGES, "total"]
    assert road["total"]["min"] >= sum(road[stage]["min"] for stage in STAGES)
    assert report["speed"]["flop_per_second"] > 0


def test_forward_alone_of_the_net_as_it_is(tmp_path: Path) -> None:
    small = ("--height", 65, "--width", 65, "--iterations", 2, "--device", "cpu", "--log", tmp_path / "time.log")
    plain = ("--backend", "eager", "--no-rewrite", "--forward-only", "--json", tmp_path / "t.json")
    result = run(*small, *plain)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "t.json").read_text())
    assert (report["backend"], report["rewritten"], report["road_ms"]) == ("eager", False, None)
    assert "not rewritten" in result.output and "label map" not in result.output


def test_an_image_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    small = ("--height", 65, "--width", 65, "--iterations", 1, "--device", "cpu", "--log", tmp_path / "time.log")
    result = run(*small, "--backend", "eager", "--image", tmp_path / "bad.png")
    assert result.exit_code == 1 and "bad.png" in result.stderr and not (tmp_path / "time.log").exists()


def test_statistics() -> None:
    found = Times(tuple(float(n) for n in range(100, 0, -1))).statistics()
    assert found == {"median": 50.5, "mean": 50.5, "min": 1.0, "p95": 95.0, "max": 100.0}


def test_every_layer_is_timed() -> None:
    model = seeded()
    names = [name for name, _ in model.named_children()]
    layers = time_layers(model, torch.zeros(1, 3, 33, 33), 2)
    assert set(layers) == set(names) and all(value >= 0 for value in layers.values())


def test_an_illegal_size_and_wrong_use(tmp_path: Path) -> None:
    result = run("--height", 1024, "--width", 2048, "--log", tmp_path / "time.log")
    assert result.exit_code == 1 and "1000 and 1025" in result.stderr and not (tmp_path / "time.log").exists()
    assert run("--iterations", 0).exit_code == 2
    assert run("--device", "nonsense", "--log", tmp_path / "time.log").exit_code == 1


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: MMSegICNet(18, 3), "mmsegmentation's ICNet; --protocol mmseg times it"),
        (lambda: LiminnICNet(3), "liminn's ICNet; only Caffe's and mmsegmentation's are timed"),
    ],
)
def test_relatives_are_not_timed_as_caffes_net(make: Callable[[], nn.Module], advice: str, tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "w.pth")
    result = run("--weights", tmp_path / "w.pth", "--log", tmp_path / "time.log")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and advice in result.stderr
    assert not (tmp_path / "time.log").exists()
