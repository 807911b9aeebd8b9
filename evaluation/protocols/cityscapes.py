"""The benchmark's own evaluation."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, INSTANCES

from .areas import Areas, nanmean, ratio
from .base import (
    Counts,
    GroundTruth,
    ImageScore,
    ImageStats,
    Labels,
    MetricAccumulator,
    Prediction,
    ProtocolSettings,
    Result,
)
from .official import Official
from .result import Metric, Table

AVERAGE_SIZE = MappingProxyType(
    {
        "person": 3462.4756337644,
        "rider": 3930.4788056518,
        "car": 12794.0202738185,
        "truck": 27855.1264367816,
        "bus": 35732.1511111111,
        "caravan": 36771.8241758242,
        "trailer": 16926.9763313609,
        "train": 67583.7075812274,
        "motorcycle": 6298.7200839748,
        "bicycle": 4672.3249222261,
    }
)
"""Mean area of an instance in the training images, in pixels; the weights of iIoU."""


class Cityscapes(Official):
    """Class and category IoU, and iIoU, where each instance counts as much as an average one of its class.

    Works on label ids and instance ids. Predictions are made as the official protocol makes them.
    """

    name = "cityscapes"
    source = "mcordts/cityscapesScripts 2.2.4, evaluation/evalPixelLevelSemanticLabeling.py"
    needs_instances = True

    def __init__(self, settings: ProtocolSettings | None = None) -> None:
        super().__init__(settings)
        if self.settings.table != CITYSCAPES_TABLE:
            raise InputError("the protocol cityscapes is for the classes of Cityscapes")

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        return self.measure_label_ids(self.settings.table.to_label_id[prediction.labels], truth, name)

    def measure_label_ids(self, predicted: Labels, truth: GroundTruth, name: str) -> ImageStats:
        """As :meth:`measure`, for a label map that holds label ids already, as the test server takes them.

        Raises:
            InputError: the label map and the labels cannot be compared, or an id is unknown.
        """
        label, instance_ids = truth.label_ids, truth.instance_ids
        if label is None or instance_ids is None:
            raise InputError(f"{name}: the protocol cityscapes needs label ids and instance ids")
        for what, ids in (("label", label), ("label map", predicted)):
            if (largest := int(ids.max())) not in CITYSCAPES_TABLE.by_label_id:
                raise InputError(f"{name}: id {largest} in the {what}; Cityscapes' ids are 0 to 33")
        if instance_ids.shape != label.shape:
            raise InputError(f"{name}: the instance ids and the label ids are not of one size")
        stats = ImageStats.of(name, predicted, label)
        return replace(stats, instances=_instances(predicted, instance_ids, name))

    def image_score(self, stats: ImageStats) -> ImageScore:
        return _class_areas(stats.confusion).image_score(stats.name)

    def scored(self, sums: MetricAccumulator) -> Counts:
        scored: Counts = sums.confusion[np.ix_(_SCORED, _SCORED)]
        return scored

    def result(self, sums: MetricAccumulator) -> Result:
        classes = _class_areas(sums.confusion)
        columns = {
            "iou": ratio(classes.intersection, classes.union),
            "instance_iou": np.array([_class_instance_iou(sums, train_id) for train_id in range(self.num_classes)]),
            **classes.columns,
        }
        category_columns = {
            "iou": np.array([_category_iou(sums, category) for category in _CATEGORIES]),
            "instance_iou": np.array([_category_instance_iou(sums, category) for category in _CATEGORIES]),
        }
        figures = (
            Metric("mean_iou", "averageScoreClasses", nanmean(columns["iou"])),
            Metric("mean_instance_iou", "averageScoreInstClasses", nanmean(columns["instance_iou"])),
            Metric("category_iou", "averageScoreCategories", nanmean(category_columns["iou"])),
            Metric("category_instance_iou", "averageScoreInstCategories", nanmean(category_columns["instance_iou"])),
            Metric("pixel_accuracy", "pixel accuracy", classes.accuracy),
        )
        return self.report(sums, figures, columns, categories=Table(tuple(_CATEGORIES), category_columns))


_SCORED = np.array([entry.label_id for entry in CITYSCAPES_TABLE.scored])
"""Label ids of the classes, in the order of the trainIds."""


@dataclass(frozen=True)
class _Category:
    scored: npt.NDArray[np.int64]
    """Label ids of its classes."""
    every: npt.NDArray[np.int64]
    """Also of those that are not scored."""
    has_instances: bool


def _categories() -> dict[str, _Category]:
    found = {}
    for name in dict.fromkeys(entry.category for entry in CITYSCAPES_TABLE.scored):
        entries = [entry for entry in CITYSCAPES_TABLE.entries if entry.category == name]
        found[name] = _Category(
            np.array([entry.label_id for entry in entries if entry.train_id is not None]),
            np.array([entry.label_id for entry in entries]),
            all(entry.has_instances for entry in entries),
        )
    return found


_CATEGORIES = _categories()


def _category_of() -> npt.NDArray[np.int64]:
    table = np.full(256, -1)
    for number, category in enumerate(_CATEGORIES.values()):
        table[category.every] = number
    return table


_CATEGORY_OF = _category_of()
"""(256,) number of each label id's category; -1 for void."""


def _instances(
    predicted: Labels, instance_ids: npt.NDArray[np.int32], name: str
) -> tuple[tuple[int, int, int, int], ...]:
    """The instances of classes that are scored; see :attr:`ImageStats.instances`."""
    own = np.minimum(instance_ids // INSTANCES, 255)
    areas = np.bincount(instance_ids.ravel())
    hits = np.bincount(instance_ids[own == predicted], minlength=len(areas))
    category_hits = np.bincount(instance_ids[_CATEGORY_OF[own] == _CATEGORY_OF[predicted]], minlength=len(areas))
    found = []
    for instance in (int(number) for number in np.flatnonzero(areas) if number > INSTANCES):
        entry = CITYSCAPES_TABLE.by_label_id.get(instance // INSTANCES)
        if entry is None or (entry.train_id is not None and not entry.has_instances):
            raise InputError(f"{name}: instance id {instance}, of no class that has instances")
        if entry.train_id is not None:
            found.append((entry.label_id, int(areas[instance]), int(hits[instance]), int(category_hits[instance])))
    return tuple(found)


def _class_areas(counts: Counts) -> Areas:
    """Areas of the classes from pixels by label id and predicted id, where a class is labelled."""
    rows = counts[_SCORED]
    return Areas(rows[range(len(_SCORED)), _SCORED], rows[:, _SCORED].sum(axis=0), rows.sum(axis=1))


def _class_instance_iou(sums: MetricAccumulator, train_id: int) -> float:
    entry = CITYSCAPES_TABLE.scored[train_id]
    if not entry.has_instances:
        return float("nan")
    hits, misses = _weighted(sums, (entry.label_id,), category=False)
    areas = _class_areas(sums.confusion)
    wrong = areas.predicted[train_id] - areas.intersection[train_id]
    return float(ratio(hits, hits + wrong + misses))


def _category_iou(sums: MetricAccumulator, name: str) -> float:
    category = _CATEGORIES[name]
    counts = sums.confusion
    hits, labelled = counts[np.ix_(category.scored, category.scored)].sum(), counts[category.scored].sum()
    return float(ratio(hits, labelled + _wrong(counts, category, category.scored)))


def _category_instance_iou(sums: MetricAccumulator, name: str) -> float:
    category = _CATEGORIES[name]
    if not category.has_instances:
        return float("nan")
    hits, misses = _weighted(sums, category.scored.tolist(), category=True)
    return float(ratio(hits, hits + _wrong(sums.confusion, category, category.every) + misses))


def _wrong(counts: Counts, category: _Category, predicted: npt.NDArray[np.int64]) -> int:
    """Pixels predicted as one of these ids where a class of another category is."""
    others = np.setdiff1d(_SCORED, category.scored)
    return int(counts[np.ix_(others, predicted)].sum())


def _weighted(sums: MetricAccumulator, label_ids: Collection[int], *, category: bool) -> tuple[float, float]:
    """Pixels of instances that are found and missed, each instance weighted to the average area of its class."""
    hits, misses = [], []
    for (label_id, area), (count, own, of_category) in sums.instances.items():
        if label_id in label_ids:
            found = of_category if category else own
            weight = AVERAGE_SIZE[CITYSCAPES_TABLE.by_label_id[label_id].name] / area
            hits.append(found * weight)
            misses.append((count * area - found) * weight)
    return math.fsum(hits), math.fsum(misses)  # exact, so in any order
