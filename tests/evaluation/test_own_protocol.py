"""``icnet-eval`` with a relative's file: its own protocol, colours and sizes, and what was published of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from evaluation.cli import main
from evaluation.protocols import MULTI_SCALE, protocol
from evaluation.report.published_scores import compare, published
from evaluation.run.options import Options
from icnet_common.errors import InputError
from pytorch_icnet.imaging.normalization import IMAGENET
from pytorch_icnet.variants.mmseg import MMSegICNet

from .peers import pairs, tallied
from .small import make_small

PUBLISHED = "icnet_r18-d8_832x832_80k_cityscapes_20210925_225521-2e36638d.pth"
TWELVE = ("--scales", ",".join(map(str, MULTI_SCALE)), "--flip")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, and a checkpoint with a published name and random weights."""
    root = make_small(tmp_path_factory.mktemp("data"), 1)
    torch.manual_seed(0)
    torch.save({"meta": {"epoch": 1}, "state_dict": MMSegICNet(18).state_dict()}, root / PUBLISHED)
    return root


@pytest.fixture(autouse=True)
def inside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def evaluate(*options: str) -> Result:
    fixed = ["--list", "list.txt", "--weights", PUBLISHED, "--device", "cpu", "--workers", "1", "--json", "r.json"]
    return CliRunner().invoke(main, [*fixed, *options])


def test_a_network_brings_its_protocol() -> None:
    result = evaluate()
    assert result.exit_code == 0, result.output
    report = json.loads(Path("r.json").read_text())
    (used,) = report["protocols"]
    assert used["name"] == "mmseg"
    (view,) = used["views"]
    assert view["size"] == [1024, 2048] and view["pixels"] == IMAGENET.as_data()
    assert report["published"]["mean_iou"]["published"] == 68.14 and report["published"]["by_name"]
    assert f"Published for {PUBLISHED}, by the name of the file, on val" in result.output
    assert "mean IoU 68.14%, here" in result.output


def test_another_protocol_wins() -> None:
    result = evaluate("--protocol", "cityscapes", "--score-only", "l")
    assert result.exit_code == 2, "either weights or label maps"
    result = evaluate("--protocol", "liminn,mmseg")
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(Path("r.json").read_text())["protocols"]] == ["liminn", "mmseg"]


def test_expected_of_a_name() -> None:
    result = evaluate("--expect")
    assert result.exit_code == 1
    assert "NOT as expected: mean_iou" in result.output and "expected 68.14% within 0.1" in result.output
    assert "pixel_accuracy" not in result.output.partition("NOT as expected")[2]
    result = evaluate("--expect", "--flip")
    assert result.exit_code == 1 and f"nothing is published of {PUBLISHED} with these --scales" in result.stderr


@pytest.mark.slow
def test_multi_scale() -> None:
    result = evaluate(*TWELVE)
    assert result.exit_code == 0 and "mean IoU 70.16%, here" in result.output, result.output
    assert len(json.loads(Path("r.json").read_text())["protocols"][0]["views"]) == 12


def test_published_figures() -> None:
    assert [(each.key, each.percent) for each in published("", PUBLISHED)] == [("mean_iou", 68.14)]
    assert [(each.key, each.percent) for each in published("", PUBLISHED, multi_scale=True)] == [("mean_iou", 70.16)]
    with pytest.raises(InputError, match="with these --scales and --flip"):
        published("", PUBLISHED, multi_scale=None)
    with pytest.raises(InputError, match="nothing is published of these weights"):
        published("", "mine.pth")
    result = tallied(protocol("mmseg"), pairs("A")).result()
    assert not compare(result, published("", PUBLISHED)).met


@pytest.mark.parametrize(
    ("scales", "flip", "multi_scale"),
    [
        ((1.0,), None, False),
        (MULTI_SCALE, True, True),
        (MULTI_SCALE, None, None),
        ((1.0,), True, None),
        ((0.5, 1.0), True, None),
    ],
)
def test_ways_of_averaging(scales: tuple[float, ...], flip: bool | None, multi_scale: bool | None) -> None:
    fields: dict[str, Any] = dict.fromkeys(Options.__dataclass_fields__)
    options = Options(**{**fields, "scales": scales, "flip": flip})
    assert options.multi_scale is multi_scale
