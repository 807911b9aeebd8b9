"""Sums over a list, in any order and from any number of processes.

A :class:`ImageStats` is what one image adds: plain whole numbers, which can be written down and read back. A
:class:`MetricAccumulator` holds the sums, and for each image, under its place in the list, the few numbers that tables
and order-dependent figures need. All sums are int64, so the result does not depend on how the work was divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from icnet_common.errors import InputError

from ..scoring import Counts, ImageScore, Labels, confusion

if TYPE_CHECKING:
    from .base import Protocol
    from .result import Result

Instance = tuple[int, int]
"""Label id and area in pixels."""


@dataclass(frozen=True)
class ImageStats:
    """What one image adds."""

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
        counts = confusion(prediction, label)
        labels, predictions = np.nonzero(counts)
        return cls(name, np.stack([labels, predictions, counts[labels, predictions]], axis=1), **extra)

    @property
    def confusion(self) -> Counts:
        """(256, 256) pixels by label and prediction."""
        return _confusion(self.cells)

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
        """The record that :meth:`as_data` wrote.

        Raises:
            InputError: it is not one.
        """
        try:
            truncated = data.get("truncated_correct")
            return cls(
                str(data["name"]),
                _cells(data["cells"]),
                None if truncated is None else int(truncated),
                tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in data.get("instances", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"damaged record of an image's score: {error}") from error


@dataclass
class MetricAccumulator:
    """The sums of records under one protocol."""

    protocol: Protocol
    images: dict[int, ImageScore] = field(default_factory=dict)
    """Each image's own numbers as the protocol counts them, by its place in the list."""
    confusion: Counts = field(default_factory=lambda: np.zeros((256, 256), np.int64))
    """(256, 256) pixels by label and prediction, as they are in the files."""
    instances: dict[Instance, tuple[int, int, int]] = field(default_factory=dict)
    """By class and area: how many there are, and the sums of their pixels predicted as their class and category."""

    def add(self, index: int, record: ImageStats) -> ImageScore:
        """Add what an image gives; returns its own numbers.

        Args:
            index: the image's place in the list; no two images have the same.
            record: see :meth:`evaluation.protocols.Protocol.measure`.

        Raises:
            ValueError: this place is taken.
        """
        if index in self.images:
            raise ValueError(f"image {index} was tallied before")
        image = self.protocol.image_score(record)
        self.images[index] = image
        labels, predictions, pixels = record.cells.T
        self.confusion[labels, predictions] += pixels
        self._add_instances(((label, area), (1, own, category)) for label, area, own, category in record.instances)
        return image

    def merge(self, other: MetricAccumulator) -> None:
        """Add another tally of the same protocol, which has no image in common with this one.

        Raises:
            ValueError: it has, or it is of another protocol.
        """
        if other.protocol.name != self.protocol.name:
            raise ValueError(f"a tally of {other.protocol.name} cannot be added to one of {self.protocol.name}")
        if common := self.images.keys() & other.images.keys():
            raise ValueError(f"image {min(common)} was tallied before")
        self.images.update(other.images)
        self.confusion += other.confusion
        self._add_instances(other.instances.items())

    def in_order(self) -> tuple[ImageScore, ...]:
        """The images' own numbers in the order of the list."""
        return tuple(self.images[index] for index in sorted(self.images))

    def result(self) -> Result:
        """The figures of the images so far.

        Raises:
            InputError: there are none.
        """
        if not self.images:
            raise InputError("not one image could be scored")
        return self.protocol.result(self)

    def as_data(self) -> dict[str, Any]:
        """Everything, for another process or a file: what :meth:`from_data` takes."""
        labels, predictions = np.nonzero(self.confusion)
        cells = np.stack([labels, predictions, self.confusion[labels, predictions]], axis=1)
        return {
            "protocol": self.protocol.name,
            "images": [
                [index, image.name, image.intersection.tolist(), image.union.tolist(), image.correct, image.labelled]
                for index, image in sorted(self.images.items())
            ],
            "cells": cells.tolist(),
            "instances": [[*key, *sums] for key, sums in sorted(self.instances.items())],
        }

    @classmethod
    def from_data(cls, protocol: Protocol, data: Mapping[str, Any]) -> MetricAccumulator:
        """The tally that :meth:`as_data` wrote.

        Raises:
            InputError: it is not one, or of another protocol.
        """
        try:
            if data["protocol"] != protocol.name:
                raise InputError(f"a tally of the protocol {data['protocol']}, expected {protocol.name}")
            images = {
                int(index): ImageScore(
                    str(name), np.array(inter, np.int64), np.array(union, np.int64), int(correct), int(labelled)
                )
                for index, name, inter, union, correct, labelled in data["images"]
            }
            instances = {(int(a), int(b)): (int(c), int(d), int(e)) for a, b, c, d, e in data["instances"]}
            return cls(protocol, images, _confusion(_cells(data["cells"])), instances)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"damaged tally: {error}") from error

    def _add_instances(self, instances: Iterable[tuple[Instance, tuple[int, int, int]]]) -> None:
        for key, sums in instances:
            before = self.instances.get(key, (0, 0, 0))
            self.instances[key] = (before[0] + sums[0], before[1] + sums[1], before[2] + sums[2])


def _cells(data: Any) -> Counts:
    cells = np.array(data, np.int64).reshape(-1, 3)
    if cells.size and (cells.min() < 0 or cells[:, :2].max() > 255):
        raise ValueError("cells are label, prediction (0 to 255) and pixels")
    return cells


def _confusion(cells: Counts) -> Counts:
    counts = np.zeros((256, 256), np.int64)
    counts[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return counts
