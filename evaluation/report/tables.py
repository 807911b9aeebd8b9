"""Tables as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from typing import Any

from icnet_common.files import atomic_write

from ..protocols import Result

Path = str | os.PathLike[str]


def write_class_table(path: Path, result: Result) -> None:
    """A row per class: trainId, name, and the protocol's columns: fractions 0 to 1, and pixels."""
    columns = result.classes.columns
    rows = zip(range(len(result.classes.rows)), result.classes.rows, *columns.values(), strict=True)
    _write(path, ("train_id", "name", *columns), rows)


def write_image_table(path: Path, result: Result) -> None:
    """A row per image: path in the list, pixel accuracy (0 to 1), correct and labelled pixels."""
    rows = ((image.name, image.accuracy, image.correct, image.labelled) for image in result.images)
    _write(path, ("image", "pixel_accuracy", "correct", "labelled"), rows)


def write_confusion(path: Path, result: Result) -> None:
    """A row per class of the labels, a column per class of the predictions, in pixels."""
    rows = ((name, *counts) for name, counts in zip(result.classes.rows, result.confusion.tolist(), strict=True))
    _write(path, ("label", *result.classes.rows), rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
