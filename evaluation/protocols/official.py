"""The original's own evaluation."""

from __future__ import annotations

from pytorch_icnet.imaging.recipes import OfficialRecipe

from ..scoring import Scores, score_counts
from .base import GroundTruth, ImageScore, ImageStats, MetricAccumulator, Prediction, Protocol, Result
from .result import Metric, Table


class Official(Protocol):
    """MATLAB's: the image resized to one size, probabilities resized back, absent classes counted as 0."""

    name = "official"
    source = "hszhao/ICNet, evaluation/eval_all.m, eval_sub.m, eval_acc.m"
    predicts = OfficialRecipe

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        height, width = truth.train_ids.shape
        return ImageStats.of(name, prediction.at((height, width)), truth.train_ids)

    def image_score(self, record: ImageStats) -> ImageScore:
        return score_counts(record.confusion, self.num_classes, record.name)

    def result(self, tally: MetricAccumulator) -> Result:
        scores = Scores(tally.in_order())
        columns = {"iou": scores.iou, "intersection": scores.intersection, "union": scores.union}
        figures = (
            Metric("mean_iou", "Mean IoU", scores.mean_iou),
            Metric("pixel_accuracy", "Pixel-wise Accuracy", scores.pixel_accuracy),
        )
        return self.report(tally, figures, Table(self.settings.table.names, columns))
