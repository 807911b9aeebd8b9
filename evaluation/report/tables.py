"""Tables as CSV."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from icnet_common.files import atomic_write

from ..protocols import Result

if TYPE_CHECKING:
    import pandas as pd

Path = str | os.PathLike[str]


def write_class_table(path: Path, result: Result) -> None:
    """A row per class: trainId, name, and the protocol's columns: fractions 0 to 1, and pixels."""
    _write(path, result.frame().rename_axis(index="train_id").reset_index())


def write_image_table(path: Path, result: Result) -> None:
    """A row per image: path in the list, pixel accuracy (0 to 1), correct and labelled pixels."""
    _write(path, result.image_frame())


def write_confusion(path: Path, result: Result) -> None:
    """A row per class of the labels, a column per class of the predictions, in pixels."""
    _write(path, result.confusion_frame().reset_index())


def _write(path: Path, frame: pd.DataFrame) -> None:
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False, na_rep="nan", lineterminator="\r\n")
