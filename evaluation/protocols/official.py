"""The original's own evaluation (``eval_acc.m``), its quirks included.

- The trainIds 254 and 255 are ignored: a label plus one saturates at 255, which then becomes 0.
- Labels and predictions above the last class count as the last class in the areas (MATLAB's ``hist``).
- Every image adds eps = 2^-52 to the union, so a class that is absent everywhere has the IoU 0 and counts in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytorch_icnet.datasets.classes import MAX_CLASSES, class_names
from pytorch_icnet.imaging.recipes import OfficialRecipe

from .base import Counts, GroundTruth, ImageScore, ImageStats, MetricAccumulator, Prediction, Protocol, Result
from .result import Metric, Table, as_html, image_frame

if TYPE_CHECKING:
    import pandas as pd

EPS = float(np.finfo(np.float64).eps)

FIRST_IGNORED = MAX_CLASSES
"""Labels from here on are ignored."""


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of a set of images, from int64 sums."""

    images: tuple[ImageScore, ...]
    """In the order of the list; at least one."""

    @property
    def num_classes(self) -> int:
        return len(self.images[0].union)

    @cached_property
    def intersection(self) -> Counts:
        """(classes,) pixels that are of the class in label and prediction, over all images."""
        return np.asarray(np.sum([image.intersection for image in self.images], axis=0, dtype=np.int64))

    @cached_property
    def union(self) -> Counts:
        """(classes,) pixels that are of the class in label or prediction, over all images."""
        return np.asarray(np.sum([image.union for image in self.images], axis=0, dtype=np.int64))

    @property
    def correct(self) -> int:
        """Pixels where the prediction is right, over all images."""
        return sum(image.correct for image in self.images)

    @property
    def labelled(self) -> int:
        """Pixels that are not ignored, over all images."""
        return sum(image.labelled for image in self.images)

    @cached_property
    def iou(self) -> npt.NDArray[np.float64]:
        """(classes,) intersection over union, 0 to 1; 0 for a class that is absent everywhere."""
        padded = np.cumsum([EPS + image.union for image in self.images], axis=0)[-1]
        return np.asarray(self.intersection / padded)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over all classes, 0 to 1."""
        return float(np.cumsum(self.iou)[-1] / self.num_classes)

    @property
    def pixel_accuracy(self) -> float:
        """Correct pixels over labelled pixels, 0 to 1; NaN where every pixel is ignored."""
        return self.correct / self.labelled if self.labelled else float("nan")

    @property
    def image_accuracy(self) -> npt.NDArray[np.float64]:
        """(images,) pixel accuracy of each image, see :attr:`ImageScore.accuracy`."""
        return np.array([image.accuracy for image in self.images])

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """What there is for each class, by name: ``iou``, ``intersection`` and ``union``."""
        return {"iou": self.iou, "intersection": self.intersection, "union": self.union}

    def frame(self) -> pd.DataFrame:
        """A row per class by ``index``: ``name`` (Cityscapes' for 19 classes), ``iou``, ``intersection``, ``union``."""
        return Table(class_names(self.num_classes), self.columns).frame()

    def image_frame(self) -> pd.DataFrame:
        """A row per image, see :func:`evaluation.protocols.result.image_frame`."""
        return image_frame(self.images)

    def __str__(self) -> str:
        return (
            f"mean IoU {100 * self.mean_iou:.2f}% over {self.num_classes} classes, "
            f"pixel accuracy {100 * self.pixel_accuracy:.2f}%, {len(self.images)} images"
        )

    def __repr__(self) -> str:
        return f"<Scores: {self}>"

    def _repr_html_(self) -> str:
        return as_html(str(self), self.frame())


class Official(Protocol):
    """MATLAB's: the image resized to one size, probabilities resized back, absent classes counted as 0."""

    name = "official"
    source = "hszhao/ICNet, evaluation/eval_all.m, eval_sub.m, eval_acc.m"
    predicts = OfficialRecipe

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        height, width = truth.train_ids.shape
        return ImageStats.of(name, prediction.at((height, width)), truth.train_ids)

    def image_score(self, stats: ImageStats) -> ImageScore:
        counts = stats.confusion[:FIRST_IGNORED]
        matches = counts.diagonal()
        intersection = self._areas(matches)
        union = self._areas(counts.sum(axis=0)) + self._areas(counts.sum(axis=1)) - intersection
        return ImageScore(stats.name, intersection, union, int(matches.sum()), int(counts.sum()))

    def result(self, sums: MetricAccumulator) -> Result:
        scores = Scores(sums.in_order())
        figures = (
            Metric("mean_iou", "Mean IoU", scores.mean_iou),
            Metric("pixel_accuracy", "Pixel-wise Accuracy", scores.pixel_accuracy),
        )
        return self.report(sums, figures, scores.columns)

    def _areas(self, counts: Counts) -> Counts:
        """Pixels per class from pixels per value: what lies above the last class counts as the last class."""
        areas = counts[: self.num_classes].copy()
        areas[-1] += counts[self.num_classes :].sum()
        return areas
