"""What a protocol is: a published way of turning a network's scores into label maps, and label maps into figures.

A run drives any number of protocols over the same list. For one image::

    views = {view for protocol in protocols for view in protocol.inputs(size)}      # equal views are equal keys:
    logits = {view: Logits(net(view.blob(rgb))[0].cpu(), view.size) for view in views}    # one forward pass each
    for protocol in protocols:
        prediction = protocol.finish([logits[view] for view in protocol.inputs(size)], size)
        stats = protocol.measure(prediction, truth, name)                          # plain numbers, safe in threads

and for the list::

    sums = protocol.tally()
    sums.add(index, stats)           # in any order; stats.as_data() is what a resumable run writes down
    sums.merge(other)                # another process's or machine's share
    sums.result()                    # the same bits however the work was divided
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from pytorch_icnet.arrays import Floats, Size
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, ClassTable
from pytorch_icnet.imaging.inputs import ModelInput
from pytorch_icnet.imaging.recipes import InferenceRecipe, InputSpec, Logits, resize_scores

from .accumulator import MetricAccumulator, ScoringRules
from .areas import areas
from .image_stats import Counts, GroundTruth, ImageScore, ImageStats, Labels, Prediction
from .result import Metric, Result, Table

__all__ = [
    "Counts",
    "Floats",
    "GroundTruth",
    "ImageScore",
    "ImageStats",
    "Labels",
    "Logits",
    "MetricAccumulator",
    "ModelInput",
    "Prediction",
    "Protocol",
    "ProtocolSettings",
    "Result",
    "Size",
    "resize_scores",
]

CITYSCAPES_SIZE = (1024, 2048)
"""Of Cityscapes' images."""


@dataclass(frozen=True)
class ProtocolSettings(InputSpec):
    """What protocols are told of the run."""

    table: ClassTable = CITYSCAPES_TABLE
    """The classes, and what labels become them."""

    @property
    def num_classes(self) -> int:
        return self.table.num_classes


class Protocol(ScoringRules):
    """One published protocol. Stateless: every method may run in any thread and process."""

    source: ClassVar[str]
    """The repository, version and files that it follows."""
    needs_instances: ClassVar[bool] = False
    """Whether it scores label ids and instance ids instead of trainIds."""

    predicts: ClassVar[type[InferenceRecipe]]
    """What makes the label maps."""

    def __init__(self, settings: ProtocolSettings | None = None) -> None:
        self.settings = settings or ProtocolSettings()
        self.recipe = self.predicts(self.settings)

    @property
    def num_classes(self) -> int:
        return self.settings.num_classes

    def inputs(self, size: Size) -> tuple[ModelInput, ...]:
        """See :meth:`pytorch_icnet.imaging.recipes.InferenceRecipe.inputs`."""
        return self.recipe.inputs(size)

    def label_size(self, size: Size) -> Size:
        """The size of the label map that is scored for an image of ``size``."""
        return self.recipe.label_size(size)

    def probabilities(self, logits: Iterable[Logits], size: Size) -> Floats:
        """See :meth:`pytorch_icnet.imaging.recipes.InferenceRecipe.probabilities`."""
        return self.recipe.probabilities(logits, size)

    def finish(self, logits: Iterable[Logits], size: Size) -> Prediction:
        """The label map; arguments as for :meth:`probabilities`."""
        return Prediction(self.recipe.labels(logits, size))

    def measure(self, prediction: Prediction, truth: GroundTruth, name: str) -> ImageStats:
        """What an image adds to the figures.

        Args:
            prediction: see :meth:`finish`; or read back from a file, ``Prediction(labels)``.
            truth: see :func:`evaluation.data.labels.read_truth`.
            name: the image's path in the list.

        Raises:
            InputError: the label map and the labels cannot be compared.
        """
        return ImageStats.of(name, prediction.labels, truth.train_ids)

    def tally(self) -> MetricAccumulator:
        """An empty accumulator of this protocol."""
        return MetricAccumulator(self)

    def image_score(self, stats: ImageStats) -> ImageScore:
        """An image's own numbers, for tables and for finding the worst images."""
        return areas(stats.confusion, self.num_classes).image_score(stats.name)

    def report(
        self,
        sums: MetricAccumulator,
        figures: Sequence[Metric],
        columns: Mapping[str, npt.NDArray[Any]],
        notes: Sequence[str] = (),
        *,
        categories: Table | None = None,
    ) -> Result:
        """A result with what is the same for every protocol: the classes' confusion and the images."""
        classes, scored = Table(self.settings.table.names, columns), self.scored(sums)
        return Result(
            self.name, self.source, tuple(figures), classes, sums.in_order(), scored, categories, tuple(notes)
        )

    def scored(self, sums: MetricAccumulator) -> Counts:
        """(classes, classes) pixels by label and prediction, of those whose label is scored."""
        return sums.confusion[: self.num_classes, : self.num_classes]

    def as_data(self) -> dict[str, Any]:
        """For reports, and for telling two runs apart: what an image of Cityscapes is fed as."""
        return {
            "name": self.name,
            "source": self.source,
            "views": [view.as_data() for view in self.inputs(CITYSCAPES_SIZE)],
        }
