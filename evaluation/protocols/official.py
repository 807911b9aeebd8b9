"""The original's own evaluation."""

from __future__ import annotations

from collections.abc import Iterable

from pytorch_icnet.imaging import postprocess, probabilities
from pytorch_icnet.imaging.pixels import CAFFE

from ..score import Scores, score_counts
from .base import Floats, ImageScore, Logits, Prediction, Protocol, Record, Result, Size, Tally, Truth, View
from .result import Figure, Table


class Official(Protocol):
    """MATLAB's: the image resized to one size, probabilities resized back, absent classes counted as 0."""

    name = "official"
    source = "hszhao/ICNet, evaluation/eval_all.m, eval_sub.m, eval_acc.m"

    def views(self, size: Size) -> tuple[View, ...]:
        return (View(self.settings.input_size, "matlab", self.settings.pixels or CAFFE),)

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        (scores,) = logits
        return probabilities(scores.planes, size, full_size=scores.full_size)

    def finish(self, logits: Iterable[Logits], size: Size) -> Prediction:
        (scores,) = logits
        return Prediction(postprocess(scores.planes, size, full_size=scores.full_size))

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
