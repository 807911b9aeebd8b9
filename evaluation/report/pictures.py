"""Small pictures of single images for the page: image, label, prediction and error, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from pytorch_icnet.imaging import imresize, png
from pytorch_icnet.imaging.images import read_image, read_label_map

from ..data.lists import Entry, locate
from ..protocols import Result
from ..protocols.official import FIRST_IGNORED
from ..scoring import ImageScore, Scoring

Bytes = npt.NDArray[np.uint8]

WIDTH = 320
"""Of a picture, in pixels; smaller images stay as they are."""

RIGHT, WRONG, IGNORED = (226, 232, 240), (220, 38, 38), (30, 41, 59)
"""Colours of the error picture: red, green, blue."""

_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Tiles:
    """An image as the page shows it; pictures are data URIs, empty where there is none."""

    name: str
    accuracy: float | None
    """Pixel accuracy, 0 to 1."""
    image: str
    label: str
    prediction: str
    error: str


def extremes(result: Result, count: int) -> tuple[list[ImageScore], list[ImageScore]]:
    """The ``count`` worst and best images by pixel accuracy; none is in both."""
    ranked = sorted((image for image in result.images if image.labelled), key=lambda image: image.accuracy)
    worst = ranked[:count]
    return worst, ranked[len(worst) :][-count:][::-1]


def tiles(
    names: Iterable[tuple[str, float | None]], entries: Sequence[Entry], scoring: Scoring, predictions: Path
) -> list[Tiles]:
    """The pictures of some images; one whose files are not here (but on another machine) is left out.

    Args:
        names: paths in the list, and accuracies.
        entries: the list.
        scoring: says where the data are and what their classes look like.
        predictions: the folder of label maps.
    """
    by_name = {entry.image: entry for entry in entries}
    made = []
    for name, accuracy in names:
        try:
            made.append(_tiles(by_name[name], accuracy, scoring, predictions))
        except (InputError, OSError):
            continue
    return made


def _tiles(entry: Entry, accuracy: float | None, scoring: Scoring, predictions: Path) -> Tiles:
    palette = scoring.table.palette
    prediction = read_label_map(predictions / f"{entry.stem}.png")
    try:
        image = photograph(read_image(locate(scoring.data_root, entry.image)))
    except OSError:  # only label maps are needed to score
        image = ""
    label = error = ""
    if entry.label is not None:
        truth = scoring.truth(locate(scoring.data_root, entry.label)).train_ids
        label, error = label_map(truth, palette), photograph(errors(prediction, truth))
    return Tiles(entry.image, accuracy, image, label, label_map(prediction, palette), error)


def errors(prediction: Bytes, truth: Bytes) -> Bytes:
    """Where a label map is wrong, RGB, uint8 HxWx3 of the label's size."""
    size = (truth.shape[0], truth.shape[1])
    colours = np.empty((*size, 3), np.uint8)
    colours[...] = np.where((imresize(prediction, size, "nearest") == truth)[..., None], RIGHT, WRONG)
    colours[truth >= FIRST_IGNORED] = IGNORED
    return colours


def photograph(rgb: Bytes) -> str:
    """An RGB image, reduced, as the data URI of a JPEG file."""
    height, width = rgb.shape[:2]
    if width > WIDTH:
        rgb = np.asarray(cv2.resize(rgb, (WIDTH, _height(height, width)), interpolation=cv2.INTER_AREA), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return data_uri("image/jpeg", cv2.imencode(".jpg", rgb[..., ::-1], quality)[1].tobytes())


def label_map(labels: Bytes, palette: Bytes) -> str:
    """A label map, reduced, as the data URI of an indexed PNG file."""
    height, width = labels.shape
    if width > WIDTH:
        labels = np.asarray(
            cv2.resize(labels, (WIDTH, _height(height, width)), interpolation=cv2.INTER_NEAREST), np.uint8
        )
    return data_uri("image/png", png.encode(labels, palette))


def data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _height(height: int, width: int) -> int:
    return max(1, round(height * WIDTH / width))
