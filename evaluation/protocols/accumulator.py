"""Sums over a list, in any order and from any number of processes.

A :class:`MetricAccumulator` holds the sums of :class:`ImageStats`, and for each image, under its place in the list, the
few numbers that tables and order-dependent figures need. All sums are int64, so the result does not depend on how the
work was divided.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from icnet_common.errors import InputError

from .image_stats import Counts, ImageScore, ImageStats, cells_of, confusion_of, read_cells
from .result import Result

Instance = tuple[int, int]
"""Label id and area in pixels."""


class ScoringRules(ABC):
    """The arithmetic of a protocol: what an image's numbers are, and what the sums over a list say."""

    name: ClassVar[str]
    """What ``--protocol`` calls it."""

    @abstractmethod
    def image_score(self, stats: ImageStats) -> ImageScore:
        """An image's own numbers, for tables and for finding the worst images."""

    @abstractmethod
    def result(self, sums: MetricAccumulator) -> Result:
        """The figures of a list, see :meth:`MetricAccumulator.result`."""


@dataclass
class MetricAccumulator:
    """The sums of images' numbers under one protocol."""

    protocol: ScoringRules
    images: dict[int, ImageScore] = field(default_factory=dict)
    """Each image's own numbers as the protocol counts them, by its place in the list."""
    confusion: Counts = field(default_factory=lambda: np.zeros((256, 256), np.int64))
    """(256, 256) pixels by label and prediction, as they are in the files."""
    instances: dict[Instance, tuple[int, int, int]] = field(default_factory=dict)
    """By class and area: how many there are, and the sums of their pixels predicted as their class and category."""

    def add(self, index: int, stats: ImageStats) -> ImageScore:
        """Add what an image gives; returns its own numbers.

        Args:
            index: the image's place in the list; no two images have the same.
            stats: see :meth:`evaluation.protocols.Protocol.measure`.

        Raises:
            ValueError: this place is taken.
        """
        if index in self.images:
            raise ValueError(f"image {index} was tallied before")
        image = self.protocol.image_score(stats)
        self.images[index] = image
        labels, predictions, pixels = stats.cells.T
        self.confusion[labels, predictions] += pixels
        self._add_instances(((label, area), (1, own, category)) for label, area, own, category in stats.instances)
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
        return {
            "protocol": self.protocol.name,
            "images": [
                [index, image.name, image.intersection.tolist(), image.union.tolist(), image.correct, image.labelled]
                for index, image in sorted(self.images.items())
            ],
            "cells": cells_of(self.confusion).tolist(),
            "instances": [[*key, *sums] for key, sums in sorted(self.instances.items())],
        }

    @classmethod
    def from_data(cls, protocol: ScoringRules, data: Mapping[str, Any]) -> MetricAccumulator:
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
            return cls(protocol, images, confusion_of(read_cells(data["cells"])), instances)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"damaged tally: {error}") from error

    def _add_instances(self, instances: Iterable[tuple[Instance, tuple[int, int, int]]]) -> None:
        for key, sums in instances:
            before = self.instances.get(key, (0, 0, 0))
            self.instances[key] = (before[0] + sums[0], before[1] + sums[1], before[2] + sums[2])
