"""pytorch-semseg's evaluation."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pytorch_icnet.imaging.pixels import UNIT_BGR

from .areas import areas, nanmean, ratio
from .base import Floats, ImageScore, Logits, Prediction, Protocol, Record, Result, Size, Tally, Truth, View, to_image
from .result import Figure, Table
from .views import pillow_nearest


class SemSeg(Protocol):
    """Images and labels resized to the network's size; the mean of the logits of the image and its mirror image.

    Nothing is resized back, so small things count as much as they cover after resizing.
    """

    name = "semseg"
    source = "meetshah1995/pytorch-semseg 801fb20, validate.py, ptsemseg/metrics.py, loader/cityscapes_loader.py"

    def views(self, size: Size) -> tuple[View, ...]:
        pixels = self.settings.pixels or UNIT_BGR
        flips = (False,) if self.settings.flip is False else (False, True)
        return tuple(View(self.settings.input_size, "pillow", pixels, flip) for flip in flips)

    def label_size(self, size: Size) -> Size:
        return self.settings.input_size

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        result: Floats = self._mean(logits, size).softmax(0).permute(1, 2, 0).contiguous().numpy()
        return result

    def finish(self, logits: Iterable[Logits], size: Size) -> Prediction:
        return Prediction.of(self._mean(logits, size))

    def measure(self, prediction: Prediction, truth: Truth, name: str) -> Record:
        height, width = prediction.labels.shape
        return Record.of(name, prediction.labels, pillow_nearest(truth.train_ids, (height, width)))

    def image_score(self, record: Record) -> ImageScore:
        counts = record.confusion[: self.num_classes, : self.num_classes]
        return areas(counts, self.num_classes).image_score(record.name)

    def result(self, tally: Tally) -> Result:
        total = areas(self.scored(tally), self.num_classes)
        pixels = total.labelled.sum()
        iou, accuracy = ratio(total.intersection, total.union), ratio(total.intersection, total.labelled)
        frequency = ratio(total.labelled, pixels)
        present = total.labelled > 0
        figures = (
            Figure("mean_iou", "Mean IoU", nanmean(iou)),
            Figure("pixel_accuracy", "Overall Acc", float(ratio(total.intersection.sum(), pixels))),
            Figure("mean_accuracy", "Mean Acc", nanmean(accuracy)),
            Figure("frequency_weighted_iou", "FreqW Acc", float((frequency[present] * iou[present]).sum())),
        )
        columns = {
            "iou": iou,
            "accuracy": accuracy,
            "intersection": total.intersection,
            "union": total.union,
        }
        notes = ["labels are compared at the network's size"]
        return self.report(tally, figures, Table(self.settings.table.names, columns), notes)

    def _mean(self, logits: Iterable[Logits], size: Size) -> torch.Tensor:
        views = self.views(size)
        total: torch.Tensor | None = None
        for view, scores in zip(views, logits, strict=True):
            planes = to_image(scores.full(), self.settings.input_size, align_corners=True)
            planes = planes.flip(-1) if view.flip else planes
            total = planes if total is None else total + planes
        assert total is not None
        return total / len(views)
