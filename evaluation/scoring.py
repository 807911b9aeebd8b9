"""Scores of label maps, as the official evaluation (``eval_acc.m``) computes them, its quirks included.

- The trainIds 254 and 255 are ignored: a label plus one saturates at 255, which then becomes 0.
- Labels and predictions above the last class count as the last class in the areas (MATLAB's ``hist``).
- Every image adds eps = 2^-52 to the union, so a class that is absent everywhere has the IoU 0 and counts in the mean.
- As many of the list's first lines are scored as the folder has PNG files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from icnet_common.parallel import parallel_map
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE
from pytorch_icnet.datasets.palette import CITYSCAPES
from pytorch_icnet.imaging import imresize
from pytorch_icnet.imaging.images import NotALabelMap, read_label_map

from .data.lists import Entry, ImageList, locate, read_list

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]
Say = Callable[[str], None]

EPS = float(np.finfo(np.float64).eps)

FIRST_IGNORED = 254
"""Labels from here on are ignored."""

_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class ImageScore:
    """What one image adds to the scores. Normalization."""

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
class Scores:
    """Scores of a set of images, from int64 sums."""

    images: tuple[ImageScore, ...]
    """In the order of the list; at least one."""

    @property
    def num_classes(self) -> int:
        return len(self.images[0].union)

    @cached_property
    def intersection(self) -> Counts:
        """(classes,) pixels that are of the class in label and prediction, over all images."""
        return np.asarray(np.sum([image.intersection for image in self.images], axis=0, dtype=np.int64))

    @cached_property
    def union(self) -> Counts:
        """(classes,) pixels that are of the class in label or prediction, over all images."""
        return np.asarray(np.sum([image.union for image in self.images], axis=0, dtype=np.int64))

    @property
    def correct(self) -> int:
        """Normalization where the prediction is right, over all images."""
        return sum(image.correct for image in self.images)

    @property
    def labelled(self) -> int:
        """Normalization that are not ignored, over all images."""
        return sum(image.labelled for image in self.images)

    @cached_property
    def iou(self) -> npt.NDArray[np.float64]:
        """(classes,) intersection over union, 0 to 1; 0 for a class that is absent everywhere."""
        padded = np.cumsum([EPS + image.union for image in self.images], axis=0)[-1]
        return np.asarray(self.intersection / padded)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over all classes, 0 to 1."""
        return float(np.cumsum(self.iou)[-1] / self.num_classes)

    @property
    def pixel_accuracy(self) -> float:
        """Correct pixels over labelled pixels, 0 to 1; NaN where every pixel is ignored."""
        return self.correct / self.labelled if self.labelled else float("nan")

    @property
    def image_accuracy(self) -> npt.NDArray[np.float64]:
        """(images,) pixel accuracy of each image, see :attr:`ImageScore.accuracy`."""
        return np.array([image.accuracy for image in self.images])


def score(
    predictions: str | os.PathLike[str],
    list_file: str | os.PathLike[str],
    data_root: str | os.PathLike[str],
    num_classes: int = 19,
) -> Scores:
    """Score a folder of predicted label maps against the labels of a list, as ``eval_acc.m`` does.

    A line whose label is missing, or whose prediction has colours, is skipped with a warning (``logging``).

    Args:
        predictions: the folder with one PNG file per image, ``<image's name>.png``: trainIds, gray or indexed. A
            prediction that is not of its label's size is resized to it, "nearest".
        list_file: a list with labels, see :func:`evaluation.data.lists.read_list`.
        data_root: the folder that the list's paths start from.
        num_classes: 1 to 254; trainIds 0 to ``num_classes`` - 1 are scored.

    Raises:
        InputError: nothing to score, a prediction missing for one of the first lines, a damaged file, or labels that
            are Cityscapes' labelIds instead of trainIds.
    """
    listed = read_list(list_file)
    say = logging.getLogger(__name__).warning
    entries = first_lines(listed, Path(predictions), say)
    return collect(score_entries(entries, predictions, data_root, num_classes, say))


def first_lines(listed: ImageList, predictions: Path, say: Say) -> tuple[Entry, ...]:
    """The lines that the original would score: as many as ``predictions`` has PNG files.

    Raises:
        InputError: there are no PNG files, or the list has no labels.
    """
    if not listed.has_labels:
        raise InputError(f"{listed.path}: has no labels to score with; expected `image label` in each line")
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder of predictions")
    count = sum(1 for _ in predictions.glob("*.png"))
    if count == 0:
        raise InputError(f"{predictions}: no PNG files to score")
    if count > len(listed.entries):
        say(f"{predictions}: {count} PNG files, but {listed.path} has only {len(listed.entries)} lines")
    return listed.entries[:count]


def score_entries(
    entries: Sequence[Entry],
    predictions: str | os.PathLike[str],
    data_root: str | os.PathLike[str],
    num_classes: int,
    say: Say,
) -> Generator[ImageScore | None, None, None]:
    """The score of each entry in order; None for one that was skipped, of which ``say`` was told.

    Raises:
        InputError: a prediction is missing or a file is damaged.
    """
    if not 1 <= num_classes <= FIRST_IGNORED:
        raise InputError(f"{num_classes} classes; 8-bit label maps hold 1 to {FIRST_IGNORED}")

    def score_entry(entry: Entry) -> ImageScore | str:
        return _score_entry(entry, Path(predictions), data_root, num_classes)

    for outcome in parallel_map(score_entry, entries, threads=_THREADS, in_flight=2 * _THREADS):
        if isinstance(outcome, str):
            say(outcome)
            yield None
        else:
            yield outcome


def collect(images: Iterator[ImageScore | None]) -> Scores:
    """The scores of all images that were not skipped.

    Raises:
        InputError: there is none.
    """
    scored = tuple(image for image in images if image is not None)
    if not scored:
        raise InputError("not one image could be scored")
    return Scores(scored)


def score_image(prediction: Labels, label: Labels, num_classes: int = len(CITYSCAPES), name: str = "") -> ImageScore:
    """Score one label map, uint8 HxW, against its label, uint8 of any size; see the module for the rules."""
    if prediction.shape != label.shape:
        prediction = imresize(prediction, (label.shape[0], label.shape[1]), "nearest")
    return score_counts(confusion(prediction, label), num_classes, name)


def confusion(prediction: Labels, label: Labels) -> Counts:
    """Normalization by label and prediction, int64 256x256, of two uint8 arrays of one shape."""
    pairs = label.astype(np.int64) * 256 + prediction
    return np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)


def score_counts(counts: Counts, num_classes: int, name: str = "") -> ImageScore:
    """The score of one image from its :func:`confusion`; see the module for the rules."""
    counts = counts[:FIRST_IGNORED]
    matches = counts.diagonal()
    intersection = _areas(matches, num_classes)
    union = _areas(counts.sum(axis=0), num_classes) + _areas(counts.sum(axis=1), num_classes) - intersection
    return ImageScore(name, intersection, union, int(matches.sum()), int(counts.sum()))


def _areas(counts: Counts, num_classes: int) -> Counts:
    """Normalization per class from pixels per value: what lies above the last class counts as the last class."""
    areas = counts[:num_classes].copy()
    areas[-1] += counts[num_classes:].sum()
    return areas


def _score_entry(
    entry: Entry, predictions: Path, data_root: str | os.PathLike[str], num_classes: int
) -> ImageScore | str:
    """The entry's score, or why it is skipped."""
    assert entry.label is not None
    label_file = locate(data_root, entry.label)
    prediction_file = predictions / f"{entry.stem}.png"
    if not label_file.exists():
        return f"{label_file}: no such label; skipped"
    if not prediction_file.exists():
        raise InputError(f"{prediction_file}: no such prediction, for {entry.image} in line {entry.line} of the list")
    try:
        prediction = read_label_map(prediction_file)
    except NotALabelMap as reason:
        return f"{reason}; skipped"
    label = read_label_map(label_file)
    if num_classes == CITYSCAPES_TABLE.num_classes and CITYSCAPES_TABLE.looks_like_label_ids(label):
        CITYSCAPES_TABLE.check_train_ids(label, label_file)
    return score_image(prediction, label, num_classes, entry.image)
