"""The evaluation of Supervisely's ICNet plugin."""

from __future__ import annotations

import numpy as np

from pytorch_icnet.imaging.recipes import SuperviselyRecipe

from .areas import areas, nanmean, ratio
from .base import MetricAccumulator, Protocol, Result
from .result import Metric


class Supervisely(Protocol):
    """OpenCV's resizing both ways, cubic for the probabilities; accuracy is all that it measures.

    The cubic kernel overshoots: probabilities reach from about -0.25 to 1.3.
    """

    name = "supervisely"
    source = "supervisely/supervisely 4e06a065f, plugins/nn/icnet/src and supervisely_lib/nn/legacy/pytorch/metrics.py"
    predicts = SuperviselyRecipe

    def result(self, sums: MetricAccumulator) -> Result:
        total = areas(sums.confusion, self.num_classes)
        per_image = np.array([image.accuracy for image in sums.in_order()])
        iou = ratio(total.intersection, total.union)
        figures = (
            Metric("mean_image_accuracy", "accuracy", nanmean(per_image)),
            Metric("pixel_accuracy", "accuracy of all pixels", total.accuracy),
            Metric("mean_iou", "mean IoU", nanmean(iou)),
        )
        columns = {
            "iou": iou,
            "accuracy": ratio(total.intersection, total.labelled),
            **total.columns,
        }
        notes = ["the plugin reports accuracy alone; the mean IoU is over the classes that are present"]
        return self.report(sums, figures, columns, notes)
