"""The figures of a protocol, ready for a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..scoring import Counts, ImageScore


@dataclass(frozen=True)
class Metric:
    """A number that a protocol reports."""

    key: str
    """The same for the same thing in every protocol: ``mean_iou``, ``pixel_accuracy``, ..."""
    name: str
    """What the protocol's own programs call it."""
    value: float
    """0 to 1; NaN where it is undefined."""


@dataclass(frozen=True)
class Table:
    """Numbers per class, or per category."""

    rows: tuple[str, ...]
    """Names."""
    columns: Mapping[str, npt.NDArray[Any]]
    """By key (``iou``, ``accuracy``, ...): (rows,) 0 to 1, NaN where undefined; whole numbers are pixels."""


@dataclass(frozen=True)
class Result:
    """What a protocol says of a list of images."""

    protocol: str
    source: str
    figures: tuple[Metric, ...]
    """The first is the protocol's headline."""
    classes: Table
    """A row per class that is scored, in the order of the trainIds."""
    images: tuple[ImageScore, ...]
    """In the order of the list."""
    confusion: Counts
    """(classes, classes) pixels by label and prediction, of those scored."""
    categories: Table | None = None
    notes: tuple[str, ...] = field(default=())
    """What a reader must know to understand a figure."""

    def __getitem__(self, key: str) -> float:
        """The figure of a key."""
        for figure in self.figures:
            if figure.key == key:
                return figure.value
        raise KeyError(key)

    def as_data(self) -> dict[str, Any]:
        """For JSON, except for the images: fractions of 1, and pixels."""
        data: dict[str, Any] = {
            "protocol": self.protocol,
            "source": self.source,
            "images": len(self.images),
            "figures": {figure.key: figure.value for figure in self.figures},
            "names": {figure.key: figure.name for figure in self.figures},
            "classes": table_as_data(self.classes),
            "confusion": self.confusion.tolist(),
        }
        if self.categories is not None:
            data["categories"] = table_as_data(self.categories)
        if self.notes:
            data["notes"] = list(self.notes)
        return data


def table_as_data(table: Table) -> list[dict[str, Any]]:
    """A dict per row."""
    columns = {key: np.asarray(values).tolist() for key, values in table.columns.items()}
    return [
        {"index": index, "name": name, **{key: values[index] for key, values in columns.items()}}
        for index, name in enumerate(table.rows)
    ]
