"""Results as Cityscapes' test server takes them: a zip of label ids, one PNG file per image."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from pytorch_icnet.datasets.classes import ClassTable
from pytorch_icnet.imaging import png
from pytorch_icnet.imaging.images import read_label_map

from ..data.lists import Entry

_IMAGE = re.compile(r"[^_]+_\d{6}_\d{6}(_.*)?")
"""City, sequence and frame, by which the server finds an image's result (cityscapesScripts,
``evalPixelLevelSemanticLabeling.py``: ``{city}_{sequence}_{frame}*.png``)."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""The oldest that a zip can hold, so that equal results are equal files."""


def check_names(entries: Sequence[Entry]) -> None:
    """Raise InputError where the server would not know an image by its name."""
    for entry in entries:
        if _IMAGE.fullmatch(entry.stem) is None:
            raise InputError(
                f"{entry.image}: the test server knows images as CITY_SEQUENCE_FRAME, such as "
                "berlin_000000_000019_leftImg8bit.png"
            )


def write_zip(
    path: str | os.PathLike[str], entries: Sequence[Entry], predictions: str | os.PathLike[str], table: ClassTable
) -> None:
    """Write a zip file that can be uploaded, whole or not at all; equal label maps give equal bytes.

    Args:
        path: the zip file.
        entries: the images.
        predictions: the folder of their label maps, trainIds.
        table: what trainIds become.

    Raises:
        InputError: an image is not called as Cityscapes calls its images, or a label map is missing or damaged.
    """
    check_names(entries)
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for entry in sorted(entries, key=lambda entry: entry.stem):
            labels = read_label_map(Path(predictions) / f"{entry.stem}.png")
            info = zipfile.ZipInfo(f"{entry.stem}.png", _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is made
            archive.writestr(info, png.encode(table.to_label_id[labels]))
