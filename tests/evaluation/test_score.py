"""Scores agree with the original scoring code: the same text, and values within 1e-15."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evaluation
from evaluation.protocols import ImageScore, MetricAccumulator, ProtocolSettings, Result, protocol
from evaluation.protocols.official import EPS, Scores
from evaluation.report.data import scores as scores_as_data
from evaluation.report.tables import write_class_table, write_image_table
from evaluation.report.text import image_line, summary
from icnet_common.errors import InputError
from icnet_common.files import write_json
from pytorch_icnet.datasets.classes import PALETTE, plain_table
from pytorch_icnet.imaging.images import write_label_map

from ..golden import shared
from .peers import score_image

DATA = Path(__file__).parent / "data" / "eval_acc"


def scenarios() -> dict[str, str]:
    """The original's output for each scenario, by its letter."""
    parts = re.split(r"^##### (?:scenario )?(\w).*\n", (DATA / "expected.txt").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SCENARIOS = scenarios()


def text(scores: Scores) -> str:
    lines = [image_line(i, len(scores.images), image) for i, image in enumerate(scores.images, start=1)]
    return "\n".join([*lines, summary(result_of(scores)), ""])


def result_of(scores: Scores) -> Result:
    """What the official protocol says of these images."""
    official = protocol("official", ProtocolSettings(table=plain_table(scores.num_classes)))
    return MetricAccumulator(official, dict(enumerate(scores.images))).result()


def assert_same_values(scores: Scores, exact: str) -> None:
    """Compare with the lines of the original's ``--- exact ---`` section."""
    ours: dict[str, Any] = {
        "cnt": len(scores.images),
        "IoU": scores.iou,
        "mean_IoU": scores.mean_iou,
        "accuracy": scores.pixel_accuracy,
        "pixel_accuracy": scores.image_accuracy,
        "pixel_correct": [image.correct for image in scores.images],
        "pixel_labeled": [image.labelled for image in scores.images],
        **{f"area_intersection {i}:": image.intersection for i, image in enumerate(scores.images, start=1)},
        **{f"area_union {i}:": image.union for i, image in enumerate(scores.images, start=1)},
    }
    lines = exact.strip().splitlines()
    assert len(lines) >= 7
    for line in lines:
        name, values = re.fullmatch(r"(area_\w+ \d+:|\w+) (.*)", line).groups()  # type: ignore[union-attr]
        expected = np.array([float(value) for value in values.split()])
        np.testing.assert_allclose(np.atleast_1d(ours[name]), expected, rtol=0, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("letter", ["b", "c", "d"])
def test_scenarios(letter: str) -> None:
    expected, _, exact = SCENARIOS[letter].partition("--- exact ---\n")
    scores = evaluation.score(DATA / f"gray_{letter}", DATA / "list" / f"{letter}.txt", DATA)
    assert text(scores) == expected
    assert_same_values(scores, exact)


def test_no_predictions(tmp_path: Path) -> None:
    assert "ERROR" in SCENARIOS["f"]
    with pytest.raises(InputError, match="no PNG files to score"):
        evaluation.score(tmp_path, DATA / "list" / "b.txt", DATA)


def test_histogram() -> None:
    """The original's `hist` of 0, 1, 19, 20 and a large value over 0..19: 20 and above count as 19."""
    counts = [int(value) for value in SCENARIOS["m"].splitlines()[0].split("): ")[1].split()]
    assert counts == [1, 1, *[0] * 17, 3]
    label = np.array([[255, 0, 18, 19, 253]], np.uint8)
    areas = score_image(label, label)
    assert [areas.labelled, *areas.intersection] == [4, *counts[1:]]


@pytest.mark.parametrize("name", ["predictions_peer_gray", "gray_bnnomerge_rand"])
def test_real_images(name: str) -> None:
    folder = shared("data", "cityscapes3")
    expected, _, exact = (folder / f"expected_{name}.txt").read_text().partition("--- exact ---\n")
    predictions = folder / "predictions_peer" / "gray" if name.startswith("predictions") else folder / name
    scores = evaluation.score(predictions, folder / "val.txt", folder)
    assert text(scores) == expected
    assert_same_values(scores, exact)


def test_other_ways_of_scoring_are_noticed() -> None:
    """The helpers fail for the mean over classes that are present, and for eps added once."""
    expected, _, exact = SCENARIOS["d"].partition("--- exact ---\n")
    scores = evaluation.score(DATA / "gray_d", DATA / "list" / "d.txt", DATA)
    present = scores.union > 0
    assert f"{100 * scores.iou[present].mean():.2f}" not in expected
    shifted = ImageScore("", scores.intersection + 1, scores.union + 1, scores.correct + 1, scores.labelled)
    with pytest.raises(AssertionError):
        assert_same_values(Scores((shifted,)), exact)


def slow_score(prediction: npt.NDArray[np.uint8], label: npt.NDArray[np.uint8], classes: int) -> ImageScore:
    """The original's steps in its own order: add one, saturate, ignore, histogram."""
    intersection, predicted, labelled = ([0] * (classes + 1) for _ in range(3))
    correct = total = 0
    for p, t in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
        p, t = min(p + 1, 255), min(t + 1, 255)
        t = 0 if t == 255 else t
        p = p if t > 0 else 0
        correct += t > 0 and p == t
        total += t > 0
        predicted[min(p, classes)] += 1
        labelled[min(t, classes)] += 1
        intersection[min(p if p == t else 0, classes)] += 1
    union = [a + b - c for a, b, c in zip(predicted, labelled, intersection, strict=True)]
    return ImageScore("", np.array(intersection[1:]), np.array(union[1:]), correct, total)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 254), low=st.integers(0, 255))
def test_against_slow_loops(seed: int, classes: int, low: int) -> None:
    random = np.random.default_rng(seed)
    label, prediction = random.integers(low, 256, (2, 9, 7), dtype=np.uint8)
    prediction = np.where(random.random((9, 7)) < 0.5, prediction, label)
    ours, expected = score_image(prediction, label, classes), slow_score(prediction, label, classes)
    assert ours.intersection.tolist() == expected.intersection.tolist()
    assert ours.union.tolist() == expected.union.tolist()
    assert (ours.correct, ours.labelled) == (expected.correct, expected.labelled)


def test_eps_is_added_once_per_image() -> None:
    one = ImageScore("", np.array([1, 0]), np.array([1, 0]), 1, 1)
    assert Scores((one,)).iou.tolist() == [1 / (1 + EPS), 0]
    # 1 + eps three times, added up, is not 3 + eps.
    assert Scores((one,) * 3).iou.tolist() == [3 / ((1 + EPS) + (1 + EPS) + (1 + EPS)), 0]


def test_absent_classes_count_as_zero() -> None:
    label = np.zeros((4, 4), np.uint8)
    scores = Scores((score_image(label, label, 4),))
    assert scores.iou.tolist() == [1, 0, 0, 0]
    assert scores.mean_iou == 0.25


def test_sums_do_not_overflow() -> None:
    big = ImageScore("", np.array([2**40]), np.array([2**41]), 2**40, 2**41)
    scores = Scores((big,) * 1000)
    assert scores.intersection.dtype == np.int64
    assert (scores.intersection[0], scores.labelled) == (1000 * 2**40, 1000 * 2**41)
    assert scores.mean_iou == scores.pixel_accuracy == 0.5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images with labels, a list of them, and perfect predictions."""
    (tmp_path / "list.txt").write_text("a.png l/a.png\nb.png l/b.png\n")
    for name in ("a", "b"):
        labels = np.random.default_rng(ord(name)).integers(0, 19, (6, 8), dtype=np.uint8)
        write_label_map(tmp_path / "l" / f"{name}.png", labels)
        write_label_map(tmp_path / "gray" / f"{name}.png", labels)
        write_label_map(tmp_path / "color" / f"{name}.png", labels, PALETTE)
    return tmp_path


def score_root(root: Path, folder: str = "gray") -> Scores:
    return evaluation.score(root / folder, root / "list.txt", root)


def test_indexed_predictions_are_indices(root: Path) -> None:
    assert score_root(root).pixel_accuracy == score_root(root, "color").pixel_accuracy == 1


def test_as_many_lines_as_files(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "gray" / "b.png").unlink()
    assert [image.name for image in score_root(root).images] == ["a.png"]
    shutil.copy(root / "gray" / "a.png", root / "gray" / "stale.png")
    with pytest.raises(InputError, match=r"no such prediction, for b\.png in line 2"):
        score_root(root)
    shutil.copy(root / "gray" / "a.png", root / "gray" / "b.png")
    assert len(score_root(root).images) == 2
    assert "3 PNG files, but" in caplog.text


def test_missing_label_is_skipped(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "l" / "a.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert [image.name for image in score_root(root).images] == ["b.png"]
    assert "a.png: no such label; skipped" in caplog.text
    (root / "l" / "b.png").unlink()
    with pytest.raises(InputError, match="not one image"):
        score_root(root)


def test_prediction_with_colours_is_skipped(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(root / "gray" / "a.png"), np.zeros((6, 8, 3), np.uint8))
    assert [image.name for image in score_root(root).images] == ["b.png"]
    assert "expected one channel of class indices (trainIds); skipped" in caplog.text


def test_prediction_of_another_size_is_resized_nearest() -> None:
    label = np.arange(6, dtype=np.uint8).reshape(1, 6)
    prediction = np.array([[0, 1, 2]], np.uint8)
    assert score_image(prediction, label).correct == (np.array([0, 0, 1, 1, 2, 2]) == np.arange(6)).sum()


@pytest.mark.parametrize("classes", [0, 255])
def test_number_of_classes(root: Path, classes: int) -> None:
    with pytest.raises(InputError, match="classes"):
        evaluation.score(root / "gray", root / "list.txt", root, classes)


def test_other_numbers_of_classes(root: Path) -> None:
    scores = evaluation.score(root / "gray", root / "list.txt", root, 5)
    assert scores.iou.shape == (5,)
    assert "  5          class 4: 1.0000\nMean IoU over 5 classes: 100.00%" in summary(result_of(scores))


def test_without_labels(root: Path) -> None:
    (root / "list.txt").write_text("a.png\n")
    with pytest.raises(InputError, match="has no labels to score with"):
        score_root(root)


def test_tables(root: Path) -> None:
    ignored = np.full((6, 8), 255, np.uint8)
    write_label_map(root / "l" / "b.png", ignored)
    scores = score_root(root)
    result = result_of(scores)
    write_class_table(root / "classes.csv", result)
    write_image_table(root / "images.csv", result)
    write_json(root / "report.json", {"scores": scores_as_data(result)})
    classes = (root / "classes.csv").read_text().splitlines()
    assert classes[0] == "train_id,name,iou,intersection,union"
    assert [float(line.split(",")[2]) for line in classes[1:]] == scores.iou.tolist()
    images = (root / "images.csv").read_text().splitlines()
    assert images[1:] == ["a.png,1.0,48,48", "b.png,nan,0,0"]
    data = json.loads((root / "report.json").read_text())["scores"]
    assert data["mean_iou"] == scores.mean_iou
    assert data["per_image"][1]["pixel_accuracy"] is None
    assert data["classes"][3]["name"] == "wall"
