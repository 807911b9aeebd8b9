"""mmsegmentation's evaluation."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from pytorch_icnet.imaging.recipes import MMSegRecipe

from .areas import areas, nanmean, ratio
from .base import MetricAccumulator, Protocol, Result
from .result import Metric

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""``--scales`` of the published multi-scale figures, which also flip."""


class MMSeg(Protocol):
    """The whole image, logits resized to it; classes that are absent everywhere leave the mean.

    With several scales or flipping it is the test-time augmentation: the mean of the softmax over all views. Those
    scales are relative to the image's own size, as in 1.x; in 0.x to 2048x1024, which is the same for Cityscapes.
    """

    name = "mmseg"
    source = "mmsegmentation 0.30.0 (mmseg/core/evaluation/metrics.py) and 1.2.2 (mmseg/evaluation/metrics)"
    predicts = MMSegRecipe

    def result(self, sums: MetricAccumulator) -> Result:
        total = areas(sums.confusion, self.num_classes)
        precision, recall = ratio(total.intersection, total.predicted), ratio(total.intersection, total.labelled)
        columns: dict[str, npt.NDArray[Any]] = {
            "iou": ratio(total.intersection, total.union),
            "accuracy": recall,
            "dice": ratio(2 * total.intersection, total.predicted + total.labelled),
            "fscore": ratio(2 * (precision * recall), precision + recall),
            "precision": precision,
            "recall": recall,
            **total.columns,
        }
        figures = [
            Metric("mean_iou", "mIoU", nanmean(columns["iou"])),
            Metric("pixel_accuracy", "aAcc", total.accuracy),
            *(
                Metric(f"mean_{key}", name, nanmean(columns[key]))
                for key, name in (
                    ("accuracy", "mAcc"),
                    ("dice", "mDice"),
                    ("fscore", "mFscore"),
                    ("precision", "mPrecision"),
                    ("recall", "mRecall"),
                )
            ),
        ]
        return self.report(sums, figures, columns)
