"""The evaluation of liminn/ICNet-pytorch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from pytorch_icnet.datasets.classes import IGNORED
from pytorch_icnet.imaging.recipes import LiminnRecipe, largest

from .areas import areas
from .base import GroundTruth, ImageScore, ImageStats, Logits, MetricAccumulator, Prediction, Protocol, Result, Size
from .official import EPS
from .result import Metric


class Liminn(Protocol):
    """Images as they are; the figures are means of running values, beside which stand the true ones.

    After every image the cumulative mIoU and accuracy are noted, and what is reported is the mean of those notes: the
    first images weigh most, and the order of the list matters. The accuracy takes the first maximum of logits cut to
    whole numbers. Sums are float32, as the original's are. A class that is absent everywhere counts as 0.
    """

    name = "liminn"
    source = "liminn/ICNet-pytorch da394fc, evaluate.py and utils/metric.py"
    predicts = LiminnRecipe

    def finish(self, logits: Iterable[Logits], size: Size) -> Prediction:
        planes = LiminnRecipe(self.settings).logits(logits, size)
        return Prediction(largest(planes), largest(planes.trunc()))

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        correct = None
        if prediction.truncated is not None:
            matches = (prediction.truncated == truth.train_ids) & (truth.train_ids != IGNORED)
            correct = int(np.count_nonzero(matches))
        return ImageStats.of(name, prediction.labels, truth.train_ids, truncated_correct=correct)

    def image_score(self, stats: ImageStats) -> ImageScore:
        score = super().image_score(stats)
        return score if stats.truncated_correct is None else replace(score, correct=stats.truncated_correct)

    def result(self, sums: MetricAccumulator) -> Result:
        total = areas(sums.confusion, self.num_classes)
        intersection = union = torch.zeros(self.num_classes)
        correct = labelled = 0
        running_iou, running_accuracy = [], []
        iou = intersection
        for image in sums.in_order():
            intersection = intersection + torch.from_numpy(image.intersection).float()
            union = union + torch.from_numpy(image.union).float()
            correct, labelled = correct + image.correct, labelled + image.labelled
            iou = intersection / (EPS + union)
            running_iou.append(iou.mean().item())
            running_accuracy.append(correct / (EPS + labelled))
        plain = total.intersection / (EPS + total.union)
        figures = (
            Metric("mean_iou", "Average mIoU", sum(running_iou) / len(running_iou)),
            Metric("pixel_accuracy", "Average pixAcc", sum(running_accuracy) / len(running_accuracy)),
            Metric("final_mean_iou", "mIoU after the last image", running_iou[-1]),
            Metric("final_pixel_accuracy", "pixAcc after the last image", running_accuracy[-1]),
            Metric("true_mean_iou", "mIoU of all images", float(plain.mean())),
            Metric(
                "true_pixel_accuracy",
                "pixAcc of all images, from the logits as they are",
                float(total.intersection.sum() / (EPS + total.labelled.sum())),
            ),
        )
        columns = {
            "iou": iou.double().numpy(),
            "true_iou": plain,
            **total.columns,
        }
        notes = ["the averages are means of running values, so they depend on the order of the list"]
        return self.report(sums, figures, columns, notes)
