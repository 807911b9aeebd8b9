"""icnet-eval's protocols, inputs, audit and outputs, from the user's side."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch

from evaluation.audit.common_errors import MISTAKES
from evaluation.protocols import PROTOCOLS
from pytorch_icnet import predictor
from pytorch_icnet.datasets.classes import CITYSCAPES
from pytorch_icnet.imaging.images import read_label_map, write_label_map
from pytorch_icnet.imaging.normalization import IMAGENET
from pytorch_icnet.weights.known import KNOWN_WEIGHTS

from .peers import PEERS
from .test_eval_cli import assert_failed, call, evaluate, root
from .test_pipeline import Quarter

__all__ = ["root"]  # the fixture


class Counting(Quarter):
    """Counts its forward passes, its copies' too."""

    shapes: ClassVar[list[tuple[int, ...]]] = []

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        Counting.shapes.append(tuple(x.shape[-2:]))
        return super().quarter_scores(x)


@pytest.fixture
def counting(root: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    Counting.shapes.clear()
    model = Counting()
    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: model)
    return model


def report(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_protocols_share_forward_passes(root: Path, counting: Counting) -> None:
    make_cityscapes(root)
    ids = np.array([item.label_id for item in CITYSCAPES], np.uint16)
    for path in (root / "data" / "gtFine").rglob("*_labelTrainIds.png"):
        instances = ids[read_label_map(path)]
        cv2.imwrite(str(path).replace("labelTrainIds", "instanceIds"), instances)
    data = ("--split", "val", "--data-root", "data", "--weights", "w", "--device", "cpu")
    result = call(*data, "--protocol", "official,cityscapes", "--protocol", "semseg", "--no-flip", "--json", "r.json")
    assert result.exit_code == 0, result.output
    views = [json.dumps(view) for each in report(root / "r.json")["protocols"] for view in each["views"]]
    assert len(views) == 3
    assert len(counting.shapes) == 4 * len(set(views)) == 4 * 2
    names = [each["name"] for each in report(root / "r.json")["protocols"]]
    assert names == ["official", "cityscapes", "semseg"]
    alone = call(*data, "--protocol", "semseg", "--no-flip", "--json", "s.json", "--save-root", "alone")
    assert alone.exit_code == 0
    assert report(root / "s.json")["protocols"][0] == report(root / "r.json")["protocols"][2]
    assert (root / "results" / "classes.semseg.csv").read_text() == (root / "alone" / "classes.csv").read_text()
    assert "==== semseg (" in result.stdout and "Overall Acc: " in result.stdout


def test_official_text_is_the_same_beside_others(root: Path) -> None:
    alone, beside = evaluate(), evaluate("--protocol", "official,liminn")
    assert beside.stdout.startswith("".join(alone.stdout.splitlines(keepends=True)[:-1]))
    assert "mIoU after the last image" in beside.stdout


def test_scales_and_flip(root: Path, counting: Counting) -> None:
    result = evaluate("--protocol", "mmseg", "--scales", "0.5,1", "--flip", "--limit", "1", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert len(counting.shapes) == 4 and len(set(counting.shapes)) == 2
    assert len(report(root / "r.json")["protocols"][0]["views"]) == 4


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in ("cityscapes", "mmseg")])
def test_other_colours(root: Path, name: str) -> None:
    """Protocols feed those that are asked for; of the two left out one has official's views, the other is slow."""
    only = ("--protocol", name, "--limit", "1", "--json", "r.json")
    for pixels, equal in ((("--pixels", "imagenet"), True), ((), False)):
        assert evaluate(*only, *pixels).exit_code == 0
        views = report(root / "r.json")["protocols"][0]["views"]
        assert views and all((view["pixels"] == IMAGENET.as_data()) == equal for view in views)


def test_colours_are_part_of_a_run(root: Path) -> None:
    assert evaluate("--pixels", "unit-bgr").exit_code == 0
    unlike = evaluate("--resume")
    assert unlike.exit_code == 1, unlike.output
    assert evaluate("--resume", "--pixels", "unit-bgr").exit_code == 0


def test_options_without_meaning(root: Path) -> None:
    assert_failed(evaluate("--scales", "0.5,1"), "--scales: without meaning for the protocol official")
    size = ("--input-size", "65", "65")
    assert_failed(evaluate(*size, "--protocol", "mmseg"), "--input-size: without meaning for the protocol mmseg")
    assert_failed(evaluate("--flip", "--protocol", "liminn"), "--flip: without meaning for the protocol liminn")
    assert evaluate("--no-flip", "--protocol", "semseg").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--protocol", "other"),
        ("--protocol", "official,"),
        ("--scales", "a"),
        ("--scales", "0"),
        ("--scales", ""),
        ("--split", "val"),
        ("--expect", "1", "2", "3"),
        ("--classes", "x", "--num-classes", "3"),
        ("--alpha", "2"),
        ("--label-kind", "colours"),
        ("--audit", "0"),
        ("--pixels", "grey"),
    ],
)
def test_wrong_use(root: Path, arguments: tuple[str, ...]) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("option", ["--resume", "--save-feat", "--save-overlay", "--audit", "--pixels=caffe"])
def test_options_for_predicting(root: Path, option: str) -> None:
    assert call("--list", "list.txt", "--score-only", "l", option).exit_code == 2


def make_cityscapes(root: Path, form: str = "labelTrainIds") -> None:
    """The images and labels of the list, laid out as Cityscapes."""
    for number, name in enumerate("abcd"):
        frame = f"ulm_000000_{number:06d}"
        for folder, source, suffix in (("leftImg8bit", "i", "leftImg8bit"), ("gtFine", "l", f"gtFine_{form}")):
            target = root / "data" / folder / "val" / "ulm" / f"{frame}_{suffix}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / source / f"{name}.png", target)
            if form == "labelIds" and folder == "gtFine":
                ids = np.array([item.label_id for item in CITYSCAPES], np.uint8)
                write_label_map(target, ids[read_label_map(root / "l" / f"{name}.png")])


@pytest.mark.parametrize("form", ["labelTrainIds", "labelIds"])
def test_split_below_the_environments_root(root: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    make_cityscapes(root, form)
    assert evaluate("--json", "r.json").exit_code == 0
    monkeypatch.setenv("CITYSCAPES_DATASET", str(root / "data"))
    result = call("--split", "val", "--weights", "w", "--device", "cpu", "--json", "s.json", "--save-root", "s")
    assert result.exit_code == 0, result.output
    by_list, by_split = report(root / "r.json"), report(root / "s.json")
    assert by_split["scores"]["mean_iou"] == by_list["scores"]["mean_iou"]
    assert by_split["list"]["file"] == "val" and by_split["list"]["sha256"] is None
    assert by_split["list"]["lines"] == 4
    (root / "data").rename(root / "other")
    assert_failed(call("--split", "val", "--weights", "w"), "CITYSCAPES_DATASET is")
    assert call("--split", "val", "--weights", "w", "--data-root", "other", "--device", "cpu").exit_code == 0


def test_label_ids_are_named_not_scored(root: Path) -> None:
    make_cityscapes(root, "labelIds")
    for number, name in enumerate("abcd"):
        shutil.copy(
            root / "data/gtFine/val/ulm" / f"ulm_000000_{number:06d}_gtFine_labelIds.png", root / "l" / f"{name}.png"
        )
    assert_failed(evaluate(), "holds labelIds")
    assert evaluate("--label-kind", "labelIds").exit_code == 0


def test_other_data_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three classes of one's own, whose ids are not trainIds."""
    rows = ("id,name,colour,train_id", "7,sky,1 2 3,0", "9,void,0 0 0,-1", "20,<tree>,4 5 6,1", "33,car,7 8 9,2")
    (root / "classes.csv").write_text("\n".join(rows))
    for name in "abcd":
        labels = np.array([7, 9, 20, 33], np.uint8)[np.random.default_rng(ord(name)).integers(0, 4, (32, 64))]
        write_label_map(root / "l" / f"{name}.png", labels)
    assert_failed(evaluate("--classes", "classes.csv"), "w: scores 19 classes, but the table has 3")
    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: Quarter(3))
    result = evaluate("--classes", "classes.csv", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert "  2           <tree>: 0." in result.stdout
    assert [row["name"] for row in report(root / "r.json")["scores"]["classes"]] == ["sky", "<tree>", "car"]
    colours = cv2.imread(str(root / "results" / "color" / "a.png"))
    assert colours is not None
    assert {tuple(colour) for colour in colours.reshape(-1, 3).tolist()} <= {(3, 2, 1), (6, 5, 4), (9, 8, 7)}
    assert "&lt;tree&gt;" in (root / "results" / "report.html").read_text()
    assert "<tree>" not in (root / "results" / "report.html").read_text()
    assert evaluate("--classes", "nowhere.csv").exit_code == 1


def test_benchmark_protocol_from_files(root: Path) -> None:
    """cityscapesScripts' own figures, of its label maps turned into trainIds, through the command."""
    folder = PEERS / "cityscapes"
    to_train_id = np.full(256, 255, np.uint8)
    to_train_id[[item.label_id for item in CITYSCAPES]] = range(19)
    truth = sorted(path.name for path in (folder / "gtFine/val/frankfurt").glob("*_labelTrainIds.png"))
    lines = []
    for name in truth:
        image = name.replace("_gtFine_labelTrainIds", "_leftImg8bit")
        lines.append(f"x/{image} gtFine/val/frankfurt/{name}\n")
        # ids that are no classes cannot come out of a network: they become one that is
        labels = to_train_id[read_label_map(folder / "pred" / image)]
        write_label_map(root / "p" / image, np.where(labels == 255, 0, labels).astype(np.uint8))
    (root / "frankfurt.txt").write_text("".join(lines))
    arguments = ("--list", "frankfurt.txt", "--data-root", folder, "--score-only", "p", "--json", "r.json")
    result = call(*arguments, "--protocol", "cityscapes,official")
    assert result.exit_code == 0, result.output
    scores = report(root / "r.json")["scores"]
    assert {"averageScoreClasses", "averageScoreInstClasses"} <= set(scores["names"].values())
    assert len(scores["categories"]) == 7


def test_audit(root: Path) -> None:
    result = evaluate("--audit", "2", "--json", "r.json")
    assert result.exit_code == 0, result.output
    found = report(root / "r.json")["audit"]
    assert found["images"] == ["i/a.png", "i/c.png"]
    assert [finding["name"] for finding in found["mistakes"]] == [mistake.name for mistake in MISTAKES]
    for mistake in MISTAKES:
        assert f"\n{mistake.name} " in result.stdout
    assert "labelIds instead of trainIds" in (root / "results" / "report.html").read_text()
    assert report(root / "r.json")["scores"]["images"] == 4, "beside the evaluation itself"
    assert evaluate("--audit").exit_code == 0


def test_audit_without_labels(root: Path) -> None:
    (root / "list.txt").write_text("i/a.png\n")
    assert_failed(evaluate("--audit"), "list.txt: has no labels, which --audit and --expect need")
    assert not (root / "results").exists()


def test_zip_and_overlay(root: Path) -> None:
    make_cityscapes(root)
    arguments = ("--split", "val", "--data-root", "data", "--weights", "w", "--device", "cpu")
    assert call(*arguments, "--test-server", "up.zip", "--save-overlay", "--alpha", "1").exit_code == 0
    with zipfile.ZipFile(root / "up.zip") as archive:
        assert len(archive.namelist()) == 4
    for name in archive.namelist():
        overlay, colour = (cv2.imread(str(root / "results" / kind / name)) for kind in ("overlay", "color"))
        assert overlay is not None and colour is not None and np.array_equal(overlay, colour)
    more = call(*arguments, "--resume", "--save-feat", "npz")
    assert more.exit_code == 0 and "0 of 4 images are whole" in more.stderr, "features were not made"
    assert len(list((root / "results" / "feat").glob("*.npz"))) == 4
    assert_failed(call(*arguments, "--resume", "--save-overlay", "--alpha", "0.2"), "settings (alpha 1.0, now 0.2)")


def test_zip_wants_the_names_of_cityscapes_before_any_work(root: Path) -> None:
    assert_failed(evaluate("--test-server", "up.zip"), "i/a.png: the test server knows images as CITY_SEQUENCE_FRAME")
    assert not (root / "results").exists()


def test_expected_figures(root: Path) -> None:
    assert evaluate("--json", "r.json").exit_code == 0
    scores = report(root / "r.json")["scores"]
    iou, accuracy = (f"{100 * scores[key]:.1f}" for key in ("mean_iou", "pixel_accuracy"))
    met = evaluate("--expect", iou, accuracy, "--json", "r.json")
    assert met.exit_code == 0 and met.stdout.count("\nAs expected: ") == 2
    assert report(root / "r.json")["expected"]["met"] is True
    assert evaluate("--expect", iou).exit_code == 0
    missed = evaluate("--expect", iou, "99", "--json", "r.json")
    assert missed.exit_code == 1 and "NOT as expected: pixel_accuracy" in missed.stdout
    assert report(root / "r.json")["expected"]["met"] is False, "everything is written all the same"
    assert "NOT as expected" in (root / "results" / "report.html").read_text()
    assert evaluate("--expect", iou, "99", "--tolerance", "99").exit_code == 0
    assert call("--list", "list.txt", "--score-only", "results/gray", "--expect", iou).exit_code == 0


def test_expected_of_known_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_failed(evaluate("--expect"), "nothing is published of these weights")
    assert not (root / "results").exists()
    model = Quarter(md5=KNOWN_WEIGHTS[0].md5)
    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: model)
    missed = evaluate("--expect")
    assert missed.exit_code == 1
    assert f"expected {KNOWN_WEIGHTS[0].mean_iou}% within 0.1" in missed.stdout
    assert evaluate("--expect", "--tolerance", "100").exit_code == 0
    assert_failed(evaluate("--expect", "101"), "expected a mean IoU and perhaps a pixel accuracy")
