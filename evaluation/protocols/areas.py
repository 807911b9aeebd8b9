"""Areas of classes from pixels by label and prediction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pytorch_icnet.datasets.classes import IGNORED

from .image_stats import Counts, ImageScore

Doubles = npt.NDArray[np.float64]


class Areas(NamedTuple):
    """Pixels per class, int64 (classes,), where the label is not ignored."""

    intersection: Counts
    """Of the class in label and prediction."""
    predicted: Counts
    labelled: Counts

    @property
    def union(self) -> Counts:
        return self.predicted + self.labelled - self.intersection

    @property
    def accuracy(self) -> float:
        """Of all pixels, 0 to 1; NaN where none is labelled."""
        return float(ratio(self.intersection.sum(), self.labelled.sum()))

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """For a :class:`~evaluation.protocols.result.Table`."""
        return {"intersection": self.intersection, "union": self.union}

    def image_score(self, name: str) -> ImageScore:
        """As an image's own numbers."""
        return ImageScore(name, self.intersection, self.union, int(self.intersection.sum()), int(self.labelled.sum()))


def areas(confusion: Counts, num_classes: int) -> Areas:
    """The areas of an (n, n) confusion, all of whose labels count but the ignored trainId."""
    counts = np.delete(confusion, IGNORED, axis=0) if len(confusion) > IGNORED else confusion
    return Areas(
        counts.diagonal()[:num_classes].copy(),
        counts.sum(axis=0)[:num_classes],
        counts.sum(axis=1)[:num_classes],
    )


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Doubles:
    """Quotients, float64; NaN for 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.true_divide(numerator, denominator), np.float64)


def nanmean(values: Doubles) -> float:
    """The mean of what is not NaN; NaN where all are."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
