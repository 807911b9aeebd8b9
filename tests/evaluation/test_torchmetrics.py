"""An independent library agrees with the mean over the classes that are present."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from evaluation.protocols import protocol
from pytorch_icnet.datasets.classes import CITYSCAPES, IGNORED

from .peers import pairs, tallied

CLASSES = len(CITYSCAPES)


def theirs(letter: str, average: str) -> torch.Tensor:
    """torchmetrics' IoU, float32."""
    metric = MulticlassJaccardIndex(num_classes=CLASSES, ignore_index=IGNORED, average=average)  # type: ignore[arg-type]
    for prediction, label in pairs(letter):
        metric.update(torch.from_numpy(prediction).long(), torch.from_numpy(label).long())
    value: torch.Tensor = metric.compute()
    return value


@pytest.mark.parametrize("letter", "AB")
def test_the_plain_mean(letter: str) -> None:
    ours = tallied(protocol("mmseg"), pairs(letter)).result()
    assert ours["mean_iou"] == pytest.approx(theirs(letter, "macro").item(), abs=1e-7)
    classes = torch.from_numpy(ours.classes.columns["iou"]).nan_to_num(0)
    torch.testing.assert_close(theirs(letter, "none").double(), classes, rtol=0, atol=1e-7)


def test_the_original_counts_absent_classes() -> None:
    """Set B has an absent class: there the original's mean is another number, and the comparison sees it."""
    official = tallied(protocol("official"), pairs("B")).result()["mean_iou"]
    assert official == pytest.approx(theirs("B", "none").mean().item(), abs=1e-7)
    assert official != pytest.approx(theirs("B", "macro").item(), abs=1e-2)


def test_the_mean_over_images_is_another_number() -> None:
    metric = MeanIoU(num_classes=CLASSES, input_format="index")
    for prediction, label in pairs("A"):
        kept = torch.from_numpy(label != IGNORED)
        metric.update(
            torch.from_numpy(prediction)[kept].long()[None, None], torch.from_numpy(label)[kept].long()[None, None]
        )
    ours = tallied(protocol("mmseg"), pairs("A")).result()["mean_iou"]
    assert abs(metric.compute().item() - ours) > 1e-3
