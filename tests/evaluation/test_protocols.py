"""Every protocol gives the numbers that its own programs gave for the same label maps."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.data.labels import read_truth
from evaluation.protocols import (
    PROTOCOLS,
    GroundTruth,
    ImageStats,
    Logits,
    MetricAccumulator,
    Prediction,
    ProtocolSettings,
    Result,
    protocol,
)
from evaluation.protocols.cityscapes import Cityscapes
from evaluation.protocols.official import Scores
from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import plain_table
from pytorch_icnet.imaging.images import read_label_map

from .peers import PEERS, assert_equal, expected, pairs, score_image, tallied

FRANKFURT = PEERS / "cityscapes" / "gtFine" / "val" / "frankfurt"

MMSEG = {
    "aAcc": "pixel_accuracy",
    "mIoU": "mean_iou",
    "mAcc": "mean_accuracy",
    "mDice": "mean_dice",
    "mFscore": "mean_fscore",
    "mPrecision": "mean_precision",
    "mRecall": "mean_recall",
}
COLUMNS = {
    "IoU": "iou",
    "Acc": "accuracy",
    "Dice": "dice",
    "Fscore": "fscore",
    "Precision": "precision",
    "Recall": "recall",
}


def result(name: str, letter: str) -> Result:
    return tallied(protocol(name), pairs(letter)).result()


@pytest.mark.parametrize("letter", "AB")
def test_official_is_the_original_scoring(letter: str) -> None:
    images = pairs(letter)
    scores = Scores(tuple(score_image(*pair) for pair in images))
    ours = result("official", letter)
    assert (ours["mean_iou"], ours["pixel_accuracy"]) == (scores.mean_iou, scores.pixel_accuracy)
    assert ours.classes.columns["iou"].tolist() == scores.iou.tolist()


@pytest.mark.parametrize("letter", "AB")
def test_mmseg_0_30(letter: str) -> None:
    reference, ours = expected("mmseg_0.30.0.json")[f"{letter} nan_to_num=None"], result("mmseg", letter)
    assert_equal(ours["pixel_accuracy"], reference["aAcc"], 1e-9)
    for theirs, column in COLUMNS.items():
        assert_equal(ours.classes.columns[column], reference[theirs], 1e-9, theirs)


@pytest.mark.parametrize("letter", "AB")
def test_mmseg_1_2(letter: str) -> None:
    """1.2.2 adds areas in float32, and rounds its summary to a hundredth of a percent."""
    reference, ours = expected("mmseg_1.2.2.json")[f"{letter} nan_to_num=None beta=1"], result("mmseg", letter)
    for theirs, column in COLUMNS.items():
        assert_equal(ours.classes.columns[column], reference["per_class"][theirs], 1e-6, theirs)
    for theirs, key in MMSEG.items():
        assert_equal(round(100 * ours[key], 2), reference["summary_percent"][theirs], 1e-5, theirs)


@pytest.mark.parametrize("letter", "AB")
def test_mmseg_areas_of_each_image(letter: str) -> None:
    areas = expected("mmseg_1.2.2.json")[f"{letter} areas"]
    for image, (intersection, union, _, labelled) in zip(result("mmseg", letter).images, areas.values(), strict=True):
        assert image.intersection.tolist() == intersection
        assert image.union.tolist() == union
        assert image.labelled == sum(labelled)


@pytest.mark.parametrize("letter", "AB")
def test_liminn(letter: str) -> None:
    reference, ours = expected("liminn.json")[letter], result("liminn", letter)
    assert_equal(ours["mean_iou"], reference["reported_average_mIoU"], 1e-9)
    assert_equal(ours["pixel_accuracy"], reference["reported_average_pixAcc"], 1e-9)
    assert_equal(ours["final_mean_iou"], reference["final_mIoU"], 1e-9)
    assert_equal(ours["final_pixel_accuracy"], reference["final_pixAcc"], 1e-9)
    assert_equal(ours.classes.columns["iou"], reference["class_iou"], 1e-9)
    assert ours.classes.columns["union"].tolist() == reference["total_union"]
    assert ours["true_mean_iou"] == pytest.approx(reference["final_mIoU"], abs=1e-7)
    running = reference["running_pixAcc_mIoU"]
    for count in range(1, len(running) + 1):
        part = tallied(protocol("liminn"), pairs(letter)[:count]).result()
        assert_equal([part["final_pixel_accuracy"], part["final_mean_iou"]], running[count - 1], 1e-9)


def test_liminn_cuts_logits_to_whole_numbers() -> None:
    reference = expected("liminn.json")["logits"]
    with np.load(PEERS / "pairs.npz") as file:
        planes, label = torch.from_numpy(file["logits/logits"]), file["logits/label"]
    liminn = protocol("liminn")
    prediction = liminn.finish([Logits(planes, label.shape)], label.shape)
    tally = liminn.tally()
    tally.add(0, liminn.measure(prediction, GroundTruth(label), "logits"))
    ours = tally.result()
    assert_equal(ours["pixel_accuracy"], reference["reported_average_pixAcc"], 1e-9)
    assert_equal(ours["true_pixel_accuracy"], reference["correct_with_float_argmax"] / reference["total_label"], 1e-9)
    assert_equal(ours["mean_iou"], reference["reported_average_mIoU"], 1e-9)
    assert ours.images[0].correct == reference["total_correct"] != reference["correct_with_float_argmax"]


@pytest.mark.parametrize("letter", "AB")
def test_semseg(letter: str) -> None:
    reference, ours = expected("semseg.json")[letter], result("semseg", letter)
    names = {
        "Overall Acc: \t": "pixel_accuracy",
        "Mean Acc : \t": "mean_accuracy",
        "FreqW Acc : \t": "frequency_weighted_iou",
        "Mean IoU : \t": "mean_iou",
    }
    for theirs, key in names.items():
        assert_equal(ours[key], reference["score"][theirs], 1e-9, theirs)
    assert_equal(ours.classes.columns["iou"], list(reference["class_iou"].values()), 1e-9)
    assert ours.confusion.tolist() == reference["confusion"]


@pytest.mark.parametrize("letter", "AB")
def test_supervisely(letter: str) -> None:
    reference, ours = expected("sly.json")[letter], result("supervisely", letter)
    assert_equal([image.accuracy for image in ours.images], list(reference.values()), 1e-9)
    present = [value for value in reference.values() if value is not None]
    assert_equal(ours["mean_image_accuracy"], np.mean(present), 1e-9)


def cityscapes(frames: list[int]) -> Result:
    """The result for some of the three generated frames, whose label maps hold label ids."""
    ours = Cityscapes()
    tally = ours.tally()
    for index in frames:
        stem = f"frankfurt_000000_{index:06d}"
        truth = read_truth(FRANKFURT / f"{stem}_gtFine_labelIds.png", instances=True)
        predicted = read_label_map(PEERS / "cityscapes" / "pred" / f"{stem}_leftImg8bit.png")
        tally.add(index, ours.measure_label_ids(predicted, truth, stem))
    return tally.result()


@pytest.mark.parametrize(
    ("key", "frames"), [("all three", [0, 1, 2]), ("frame 2 only", [2]), ("frame 0, evalPixelAccuracy", [0])]
)
def test_cityscapes(key: str, frames: list[int]) -> None:
    reference, ours = expected("cityscapes/expected.json")[key], cityscapes(frames)
    averages = {
        "mean_iou": "averageScoreClasses",
        "mean_instance_iou": "averageScoreInstClasses",
        "category_iou": "averageScoreCategories",
        "category_instance_iou": "averageScoreInstCategories",
    }
    for figure, name in averages.items():
        assert_equal(ours[figure], reference[name], 1e-12, name)
    for table, column, name in (
        (ours.classes, "iou", "classScores"),
        (ours.classes, "instance_iou", "classInstScores"),
        (ours.categories, "iou", "categoryScores"),
        (ours.categories, "instance_iou", "categoryInstScores"),
    ):
        assert table is not None
        theirs = reference[name]
        assert_equal(table.columns[column], [theirs[row] for row in table.rows], 1e-12, name)
        assert all(theirs[row] is None for row in theirs.keys() - set(table.rows)), "the others are not scored"
    ids = [reference["labels"][name] for name in ours.classes.rows]
    assert ours.confusion.tolist() == np.array(reference["confMatrix"])[np.ix_(ids, ids)].tolist()


def test_cityscapes_from_train_ids() -> None:
    """A label map of trainIds is scored as its label ids are."""
    frame = FRANKFURT / "frankfurt_000000_000000_gtFine_labelIds.png"
    ours = Cityscapes()
    truth = read_truth(frame, instances=True)
    random = np.random.default_rng(0)
    labels = random.integers(0, 19, truth.train_ids.shape, dtype=np.uint8)
    label_ids = ours.settings.table.to_label_id[labels]
    plain, direct = ours.measure(Prediction(labels), truth, ""), ours.measure_label_ids(label_ids, truth, "")
    assert plain.as_data() == direct.as_data()


def test_ways_of_averaging_differ() -> None:
    """The helpers tell the protocols apart: no two agree on a set with an absent class."""
    values = [result(name, "B")["mean_iou"] for name in ("official", "mmseg", "liminn")]
    assert all(abs(a - b) > 1e-3 for a, b in itertools.combinations(values, 2))
    with pytest.raises(AssertionError):
        assert_equal(values[0], values[1], 1e-9)


NAMES = [name for name in PROTOCOLS if name != "cityscapes"]


@pytest.mark.parametrize("name", NAMES)
def test_order_and_sharing_do_not_matter(name: str) -> None:
    """Any order of adding, split over processes, sent as JSON: the same bits."""
    ours = protocol(name)
    images = pairs("B")
    whole = tallied(ours, images).result().as_data()
    records = [ours.measure(Prediction(pred), GroundTruth(label), f"{i}.png") for i, (pred, label) in enumerate(images)]
    for order in itertools.permutations(range(len(images))):
        shares = [ours.tally(), ours.tally()]
        for position, index in enumerate(order):
            shares[position % 2].add(index, ImageStats.from_data(json.loads(json.dumps(records[index].as_data()))))
        total = ours.tally()
        for share in shares:
            total.merge(MetricAccumulator.from_data(ours, json.loads(json.dumps(share.as_data()))))
        assert repr(total.result().as_data()) == repr(whole)


def test_sharing_with_instances() -> None:
    ours = Cityscapes()
    whole, parts = cityscapes([0, 1, 2]), ours.tally()
    for index in (2, 0, 1):
        stem = f"frankfurt_000000_{index:06d}"
        truth = read_truth(FRANKFURT / f"{stem}_gtFine_labelIds.png", instances=True)
        share = ours.tally()
        predicted = read_label_map(PEERS / "cityscapes" / "pred" / f"{stem}_leftImg8bit.png")
        share.add(index, ImageStats.from_data(ours.measure_label_ids(predicted, truth, stem).as_data()))
        parts.merge(MetricAccumulator.from_data(ours, share.as_data()))
    assert repr(parts.result().as_data()) == repr(whole.as_data())


def test_an_image_counts_once() -> None:
    tally = tallied(protocol("mmseg"), pairs("A"))
    with pytest.raises(ValueError, match="image 1 was tallied before"):
        tally.add(1, protocol("mmseg").measure(Prediction(pairs("A")[1][0]), GroundTruth(pairs("A")[1][1]), ""))
    with pytest.raises(ValueError, match="image 0 was tallied before"):
        tally.merge(tallied(protocol("mmseg"), pairs("A")[:1]))
    with pytest.raises(ValueError, match="of official cannot be added to one of mmseg"):
        tally.merge(tallied(protocol("official"), []))
    with pytest.raises(InputError, match="not one image"):
        protocol("mmseg").tally().result()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"name": "a", "cells": [[0, 256, 1]]},
        {"name": "a", "cells": [[0, 1, -1]]},
        {"name": "a", "cells": [[0, 1]]},
        {"name": "a", "cells": "x"},
        {"name": "a", "cells": [[0, 1, 10**30]]},
        {"name": "a", "cells": [], "instances": [[1, 2]]},
        {"name": "a", "cells": [], "truncated_correct": "x"},
    ],
)
def test_damaged_records(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="damaged record"):
        ImageStats.from_data(data)


def test_damaged_tallies() -> None:
    ours = protocol("mmseg")
    data = tallied(ours, pairs("A")).as_data()
    with pytest.raises(InputError, match="tally of the protocol mmseg, expected official"):
        MetricAccumulator.from_data(protocol("official"), data)
    with pytest.raises(InputError, match="damaged tally"):
        MetricAccumulator.from_data(ours, {**data, "images": [[0]]})


def test_unknown_protocol() -> None:
    with pytest.raises(InputError, match="there are official, mmseg, liminn, semseg, supervisely, cityscapes"):
        protocol("matlab")


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"a\.png: the label map is 2x3, its label 4x3"):
        protocol("mmseg").measure(
            Prediction(np.zeros((2, 3), np.uint8)), GroundTruth(np.zeros((4, 3), np.uint8)), "a.png"
        )


def test_cityscapes_needs_its_labels() -> None:
    with pytest.raises(InputError, match="needs label ids and instance ids"):
        Cityscapes().measure(Prediction(np.zeros((2, 3), np.uint8)), GroundTruth(np.zeros((2, 3), np.uint8)), "a.png")
    with pytest.raises(InputError, match="for the classes of Cityscapes"):
        Cityscapes(ProtocolSettings(table=plain_table(5)))


@pytest.mark.parametrize(
    ("predicted", "label", "instances", "message"),
    [
        (34, 7, 7, "a.png: id 34 in the label map"),
        (7, 255, 7, "a.png: id 255 in the label"),
        (7, 7, 7001, "instance id 7001, of no class that has instances"),
        (7, 7, 65001, "instance id 65001"),
    ],
)
def test_cityscapes_refuses_unknown_ids(predicted: int, label: int, instances: int, message: str) -> None:
    truth = GroundTruth(
        np.zeros((2, 3), np.uint8), np.full((2, 3), label, np.uint8), np.full((2, 3), instances, np.int32)
    )
    with pytest.raises(InputError, match=message):
        Cityscapes().measure_label_ids(np.full((2, 3), predicted, np.uint8), truth, "a.png")


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_classes(name: str) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 150, (2, 8, 9), dtype=np.uint8)
    ours = protocol(name, ProtocolSettings(table=plain_table(150)))
    assert tallied(ours, [(labels[0], labels[0])]).result()["pixel_accuracy"] == pytest.approx(1)
    assert len(tallied(ours, [(labels[0], labels[1])]).result().classes.rows) == 150


def test_nothing_labelled() -> None:
    void = np.full((4, 5), 255, np.uint8)
    for name in NAMES:
        figures = tallied(protocol(name), [(np.zeros((4, 5), np.uint8), void)]).result().as_data()["figures"]
        assert all(value == 0 or np.isnan(value) for value in figures.values()), name


def test_files_of_the_peers_are_there() -> None:
    assert sum(1 for path in Path(PEERS).rglob("*.png")) == 12
