"""The original's own evaluation."""

from __future__ import annotations

from pytorch_icnet.imaging.rules import OfficialRule

from ..score import Scores, score_counts
from .base import ImageScore, Prediction, Protocol, Record, Result, Tally, Truth
from .result import Figure, Table


class Official(Protocol):
    """MATLAB's: the image resized to one size, probabilities resized back, absent classes counted as 0."""

    name = "official"
    source = "hszhao/ICNet, evaluation/eval_all.m, eval_sub.m, eval_acc.m"
    predicts = OfficialRule

    def measure(self, prediction: Prediction, truth: Truth, name: str) -> Record:
        height, width = truth.train_ids.shape
        return Record.of(name, prediction.at((height, width)), truth.train_ids)

    def image_score(self, record: Record) -> ImageScore:
        return score_counts(record.confusion, self.num_classes, record.name)

    def result(self, tally: Tally) -> Result:
        scores = Scores(tally.in_order())
        columns = {"iou": scores.iou, "intersection": scores.intersection, "union": scores.union}
        figures = (
            Figure("mean_iou", "Mean IoU", scores.mean_iou),
            Figure("pixel_accuracy", "Pixel-wise Accuracy", scores.pixel_accuracy),
        )
        return self.report(tally, figures, Table(self.settings.table.names, columns))
