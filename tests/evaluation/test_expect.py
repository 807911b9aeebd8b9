"""Figures are compared with what is expected of them, and undefined ones never pass."""

from __future__ import annotations

import dataclasses
import json

import pytest

from evaluation.protocols import Result, protocol
from evaluation.protocols.result import Metric
from evaluation.report.published_scores import Expected, compare, given, published
from icnet_common.errors import InputError
from pytorch_icnet.weights.known import KNOWN_WEIGHTS

from .peers import pairs, tallied


def result(mean_iou: float, pixel_accuracy: float = 0.945) -> Result:
    figures = (
        Metric("mean_iou", "Mean IoU", mean_iou),
        Metric("pixel_accuracy", "Pixel-wise Accuracy", pixel_accuracy),
    )
    return dataclasses.replace(tallied(protocol("official"), pairs("A")).result(), figures=figures)


@pytest.mark.parametrize(
    ("mean_iou", "tolerance", "met"),
    [(0.677, 0.1, True), (0.678, 0.1, True), (0.676, 0.1, True), (0.6781, 0.1, False), (0.6759, 0.1, False),
     (0.6759, 0.2, True), (0.677, 0, True), (0.67701, 0, False), (float("nan"), 100, False)],
)  # fmt: skip
def test_tolerance(mean_iou: float, tolerance: float, met: bool) -> None:
    compared = compare(result(mean_iou), given([67.7]), tolerance)
    assert compared.met is met
    assert compared.as_text().startswith("As expected" if met else "NOT as expected")


def test_both_figures_must_be_met() -> None:
    expected = published(KNOWN_WEIGHTS[0].md5)
    assert [(item.key, item.percent) for item in expected] == [("mean_iou", 67.7), ("pixel_accuracy", 94.5)]
    assert compare(result(0.677, 0.945), expected).met
    assert not compare(result(0.677, 0.94), expected).met
    assert not compare(result(0.66, 0.945), expected).met
    assert "README of hszhao/ICNet, val" in compare(result(0.677), expected).as_text()


def test_of_the_test_server() -> None:
    weights = next(known for known in KNOWN_WEIGHTS if "90k" in known.file)
    assert [(item.key, item.percent) for item in published(weights.md5)] == [("mean_iou", 69.5)]


def test_unknown_weights() -> None:
    with pytest.raises(InputError, match="nothing is published of these weights"):
        published("0" * 32)


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0], [-1.0], [101.0], [float("nan")]])
def test_wrong_values(values: list[float]) -> None:
    with pytest.raises(InputError, match=r"such as 67\.7 94\.5"):
        given(values)


def test_figures_of_other_protocols() -> None:
    tally = tallied(protocol("mmseg"), pairs("A"))
    assert compare(tally.result(), [Expected("mean_dice", 65.53)], 0.01).met
    with pytest.raises(InputError, match="mmseg has no figure mean_instance_iou; it has mean_iou, pixel_accuracy"):
        compare(tally.result(), [Expected("mean_instance_iou", 50)])


def test_as_data() -> None:
    data = json.loads(json.dumps(compare(result(0.677), given([67.7, 90])).as_data()))
    assert (data["met"], data["tolerance"]) == (False, 0.1)
    assert [figure["met"] for figure in data["figures"]] == [True, False]
    assert data["text"].splitlines()[1] == "NOT as expected: pixel_accuracy 94.50%, expected 90% within 0.1"
