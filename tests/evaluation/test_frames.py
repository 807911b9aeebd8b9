"""Scores and results as tables, as text and as notebooks show them."""

from __future__ import annotations

import numpy as np

from evaluation.protocols import protocol
from evaluation.protocols.official import Scores
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE

from .peers import pairs, score_image, tallied

PAIRS = pairs("A")


def scores() -> Scores:
    return Scores(tuple(score_image(*pair, name=f"{index}.png") for index, pair in enumerate(PAIRS)))


def test_scores_as_tables() -> None:
    ours = scores()
    frame = ours.frame()
    assert frame.index.name == "index" and list(frame.columns) == ["name", "iou", "intersection", "union"]
    assert tuple(frame["name"]) == CITYSCAPES_TABLE.names
    assert frame["iou"].tolist() == ours.iou.tolist() and frame["iou"].mean() == np.mean(ours.iou)
    assert frame["union"].dtype == np.int64 and frame["union"].tolist() == ours.union.tolist()
    images = ours.image_frame()
    assert images["image"].tolist() == ["0.png", "1.png", "2.png"]
    assert images["pixel_accuracy"].tolist() == ours.image_accuracy.tolist()
    assert (images["correct"].sum(), images["labelled"].sum()) == (ours.correct, ours.labelled)


def test_other_numbers_of_classes_have_no_names() -> None:
    ours = Scores((score_image(*PAIRS[0], num_classes=5),))
    assert ours.frame()["name"].tolist() == [f"class {index}" for index in range(5)]


def test_results_as_tables() -> None:
    for name in ("official", "mmseg", "liminn", "semseg", "supervisely"):
        result = tallied(protocol(name), PAIRS).result()
        frame = result.frame()
        assert list(frame.columns) == ["name", *result.classes.columns]
        assert [{"index": index, **row} for index, row in zip(frame.index, frame.to_dict("records"), strict=True)] == (
            result.as_data()["classes"]
        )
        confusion = result.confusion_frame()
        assert confusion.loc["road", "sidewalk"] == result.confusion[0, 1]
        assert confusion.to_numpy().tolist() == result.confusion.tolist()
        assert len(result.image_frame()) == len(PAIRS)


def test_as_text() -> None:
    ours, result = scores(), tallied(protocol("mmseg"), PAIRS).result()
    assert str(ours).startswith(f"mean IoU {100 * ours.mean_iou:.2f}% over 19 classes, pixel accuracy ")
    assert repr(ours) == f"<Scores: {ours}>" and len(repr(ours)) < 120
    assert str(result).startswith(f"mmseg: mIoU {100 * result['mean_iou']:.2f}%, aAcc ") and "3 images" in str(result)
    assert repr(result) == f"<Result: {result}>"


def test_in_a_notebook() -> None:
    result = tallied(protocol("official"), PAIRS).result()
    for shown in (scores()._repr_html_(), result._repr_html_()):
        assert shown.startswith("<p>") and "<table" in shown and "traffic light" in shown
        assert f"{scores().iou[0]:.4f}" in shown
