"""The figures of a protocol, ready for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .image_stats import Counts, ImageScore

if TYPE_CHECKING:  # imported where it is used: it takes as long to load as all else here
    import pandas as pd


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

    def as_data(self) -> list[dict[str, Any]]:
        """A dict per row, for JSON."""
        columns = {key: np.asarray(values).tolist() for key, values in self.columns.items()}
        return [
            {"index": index, "name": name, **{key: values[index] for key, values in columns.items()}}
            for index, name in enumerate(self.rows)
        ]

    def frame(self) -> pd.DataFrame:
        """A row per class or category: ``name`` and the columns, by ``index``, which counts from 0."""
        import pandas as pd

        index = pd.RangeIndex(len(self.rows), name="index")
        return pd.DataFrame({"name": list(self.rows), **self.columns}, index)


@dataclass(frozen=True, repr=False)
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

    def frame(self) -> pd.DataFrame:
        """A row per class, see :meth:`Table.frame`."""
        return self.classes.frame()

    def image_frame(self) -> pd.DataFrame:
        """A row per image, see :func:`image_frame`."""
        return image_frame(self.images)

    def confusion_frame(self) -> pd.DataFrame:
        """Pixels: a row per class of the labels, a column per class of the predictions."""
        import pandas as pd

        return pd.DataFrame(self.confusion, pd.Index(self.classes.rows, name="label"), list(self.classes.rows))

    def __str__(self) -> str:
        figures = ", ".join(f"{figure.name} {100 * figure.value:.2f}%" for figure in self.figures)
        return f"{self.protocol}: {figures}; {len(self.images)} images"

    def __repr__(self) -> str:
        return f"<Result: {self}>"

    def _repr_html_(self) -> str:
        return as_html(str(self), self.frame())

    def as_data(self) -> dict[str, Any]:
        """For JSON, except for the images: fractions of 1, and pixels."""
        data: dict[str, Any] = {
            "protocol": self.protocol,
            "source": self.source,
            "images": len(self.images),
            "figures": {figure.key: figure.value for figure in self.figures},
            "names": {figure.key: figure.name for figure in self.figures},
            "classes": self.classes.as_data(),
            "confusion": self.confusion.tolist(),
        }
        if self.categories is not None:
            data["categories"] = self.categories.as_data()
        if self.notes:
            data["notes"] = list(self.notes)
        return data


def image_frame(images: Sequence[ImageScore]) -> pd.DataFrame:
    """A row per image: ``image`` (its path in the list), ``pixel_accuracy`` (0 to 1), ``correct``, ``labelled``."""
    import pandas as pd

    rows = [(image.name, image.accuracy, image.correct, image.labelled) for image in images]
    return pd.DataFrame(rows, columns=["image", "pixel_accuracy", "correct", "labelled"])


def as_html(headline: str, frame: pd.DataFrame) -> str:
    """What a notebook shows: a line of text, and a table; names from files are escaped."""
    return f"<p>{escape(headline)}</p>{frame.to_html(float_format='{:.4f}'.format)}"
