"""What protocols know of one image: its label map, its labels, and the whole numbers that it adds to the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from pytorch_icnet.arrays import Size
from pytorch_icnet.imaging.recipes import at_size

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """A label map as a protocol scores it."""

    labels: Labels
    """uint8 of the protocol's :meth:`Protocol.label_size`: trainIds."""
    truncated: Labels | None = None
    """The same from logits cut to whole numbers, where the protocol's pixel accuracy looks at those."""

    def at(self, size: Size) -> Labels:
        """The label map at the image's size, for people to look at."""
        return at_size(self.labels, size)


@dataclass(frozen=True)
class GroundTruth:
    """The labels of an image; what a protocol needs of them says :attr:`Protocol.needs_instances`."""

    train_ids: Labels
    """uint8 HxW; the table's ignored trainId where nothing is scored."""
    label_ids: Labels | None = None
    """uint8 HxW, the data set's own ids."""
    instance_ids: npt.NDArray[np.int32] | None = None
    """HxW, 1000 times the label id plus the instance's number; below 1000 the label id of what is no instance."""


@dataclass(frozen=True)
class ImageScore:
    """An image's own numbers as a protocol counts them, in pixels."""

    name: str
    """The image's path in the list."""
    intersection: Counts
    """(classes,)"""
    union: Counts
    """(classes,)"""
    correct: int
    labelled: int

    @property
    def accuracy(self) -> float:
        """Pixel accuracy, 0 to 1; NaN where every pixel is ignored."""
        return self.correct / self.labelled if self.labelled else float("nan")


@dataclass(frozen=True)
class ImageStats:
    """What one image adds to the sums: whole numbers, which can be written down and read back."""

    name: str
    """The image's path in the list."""
    cells: Counts
    """(n, 3): label, prediction, pixels; ascending, every pair of values once, none without pixels."""
    truncated_correct: int | None = None
    """Correct pixels of ``Prediction.truncated``, where there is one."""
    instances: tuple[tuple[int, int, int, int], ...] = ()
    """Each instance's label id, area, pixels predicted as its class, and as its category."""

    @classmethod
    def of(cls, name: str, prediction: Labels, label: Labels, **extra: Any) -> ImageStats:
        """From a label map and its label, uint8 of one size.

        Raises:
            InputError: they are not of one size.
        """
        if prediction.shape != label.shape:
            raise InputError(
                f"{name}: the label map is {prediction.shape[0]}x{prediction.shape[1]}, "
                f"its label {label.shape[0]}x{label.shape[1]}"
            )
        pairs = label.astype(np.int64) * 256 + prediction
        return cls(name, cells_of(np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)), **extra)

    @property
    def confusion(self) -> Counts:
        """(256, 256) pixels by label and prediction."""
        return confusion_of(self.cells)

    def as_data(self) -> dict[str, Any]:
        """For a file: what :meth:`from_data` takes."""
        data: dict[str, Any] = {"name": self.name, "cells": self.cells.tolist()}
        if self.truncated_correct is not None:
            data["truncated_correct"] = self.truncated_correct
        if self.instances:
            data["instances"] = [list(instance) for instance in self.instances]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ImageStats:
        """What :meth:`as_data` wrote.

        Raises:
            InputError: it is not that.
        """
        try:
            truncated = data.get("truncated_correct")
            return cls(
                str(data["name"]),
                read_cells(data["cells"]),
                None if truncated is None else int(truncated),
                tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in data.get("instances", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"damaged record of an image's score: {error}") from error


def cells_of(confusion: Counts) -> Counts:
    """(n, 3) label, prediction and pixels of the cells of a (256, 256) confusion that are not empty."""
    labels, predictions = np.nonzero(confusion)
    return np.stack([labels, predictions, confusion[labels, predictions]], axis=1)


def confusion_of(cells: Counts) -> Counts:
    """The (256, 256) confusion of :func:`cells_of`."""
    counts = np.zeros((256, 256), np.int64)
    counts[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return counts


def read_cells(data: Any) -> Counts:
    """Cells from JSON; raises ValueError, TypeError or OverflowError where they are none."""
    cells = np.array(data, np.int64).reshape(-1, 3)
    if cells.size and (cells.min() < 0 or cells[:, :2].max() > 255):
        raise ValueError("cells are label, prediction (0 to 255) and pixels")
    return cells
