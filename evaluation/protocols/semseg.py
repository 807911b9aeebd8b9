"""pytorch-semseg's evaluation."""

from __future__ import annotations

from pytorch_icnet.imaging.inputs import pillow_nearest
from pytorch_icnet.imaging.recipes import SemSegRecipe

from .areas import areas, nanmean, ratio
from .base import GroundTruth, ImageScore, ImageStats, MetricAccumulator, Prediction, Protocol, Result
from .result import Metric


class SemSeg(Protocol):
    """Images and labels resized to the network's size; the mean of the logits of the image and its mirror image.

    Nothing is resized back, so small things count as much as they cover after resizing.
    """

    name = "semseg"
    source = "meetshah1995/pytorch-semseg 801fb20, validate.py, ptsemseg/metrics.py, loader/cityscapes_loader.py"
    predicts = SemSegRecipe

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        height, width = prediction.labels.shape
        return ImageStats.of(name, prediction.labels, pillow_nearest(truth.train_ids, (height, width)))

    def image_score(self, stats: ImageStats) -> ImageScore:
        counts = stats.confusion[: self.num_classes, : self.num_classes]
        return areas(counts, self.num_classes).image_score(stats.name)

    def result(self, sums: MetricAccumulator) -> Result:
        total = areas(self.scored(sums), self.num_classes)
        iou, accuracy = ratio(total.intersection, total.union), ratio(total.intersection, total.labelled)
        frequency = ratio(total.labelled, total.labelled.sum())
        present = total.labelled > 0
        figures = (
            Metric("mean_iou", "Mean IoU", nanmean(iou)),
            Metric("pixel_accuracy", "Overall Acc", total.accuracy),
            Metric("mean_accuracy", "Mean Acc", nanmean(accuracy)),
            Metric("frequency_weighted_iou", "FreqW Acc", float((frequency[present] * iou[present]).sum())),
        )
        columns = {
            "iou": iou,
            "accuracy": accuracy,
            **total.columns,
        }
        notes = ["labels are compared at the network's size"]
        return self.report(sums, figures, columns, notes)
