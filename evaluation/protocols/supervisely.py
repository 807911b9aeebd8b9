"""The evaluation of Supervisely's ICNet plugin."""

from __future__ import annotations

import numpy as np

from pytorch_icnet.imaging.recipes import SuperviselyRecipe

from .areas import areas, nanmean, ratio
from .base import MetricAccumulator, Protocol, Result
from .result import Metric, Table


class Supervisely(Protocol):
    """OpenCV's resizing both ways, cubic for the probabilities; accuracy is all that it measures.

    The cubic kernel overshoots: probabilities reach from about -0.25 to 1.3.
    """

    name = "supervisely"
    source = "supervisely/supervisely 4e06a065f, plugins/nn/icnet/src and supervisely_lib/nn/legacy/pytorch/metrics.py"
    predicts = SuperviselyRecipe

    def result(self, tally: MetricAccumulator) -> Result:
        total = areas(tally.confusion, self.num_classes)
        per_image = np.array([image.accuracy for image in tally.in_order()])
        iou = ratio(total.intersection, total.union)
        accuracy = float(ratio(total.intersection.sum(), total.labelled.sum()))
        figures = (
            Metric("mean_image_accuracy", "accuracy", nanmean(per_image)),
            Metric("pixel_accuracy", "accuracy of all pixels", accuracy),
            Metric("mean_iou", "mean IoU", nanmean(iou)),
        )
        columns = {
            "iou": iou,
            "accuracy": ratio(total.intersection, total.labelled),
            "intersection": total.intersection,
            "union": total.union,
        }
        notes = ["the plugin reports accuracy alone; the mean IoU is over the classes that are present"]
        return self.report(tally, figures, Table(self.settings.table.names, columns), notes)
