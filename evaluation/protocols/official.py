"""The original's own evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from pytorch_icnet.imaging import imresize, postprocess, probabilities
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

    def probabilities(self, logits: Sequence[Logits], size: Size) -> Floats:
        return probabilities(logits[0].planes, size, full_size=logits[0].full_size)

    def finish(self, logits: Sequence[Logits], size: Size) -> Prediction:
        return Prediction(postprocess(logits[0].planes, size, full_size=logits[0].full_size))

    def measure(self, prediction: Prediction, truth: Truth, name: str) -> Record:
        label = truth.train_ids
        return Record.of(name, imresize(prediction.labels, (label.shape[0], label.shape[1]), "nearest"), label)

    def image_score(self, record: Record) -> ImageScore:
        return score_counts(record.confusion, self.num_classes, record.name)

    def result(self, tally: Tally) -> Result:
        scores = Scores(tally.in_order())
        columns = {"iou": scores.iou, "intersection": scores.intersection, "union": scores.union}
        return Result(
            self.name,
            self.source,
            (
                Figure("mean_iou", "Mean IoU", scores.mean_iou),
                Figure("pixel_accuracy", "Pixel-wise Accuracy", scores.pixel_accuracy),
            ),
            Table(self.settings.table.names, columns),
            scores.images,
            self.scored(tally),
        )
