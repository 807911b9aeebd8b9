"""Samples for training: which images, in which order, changed in which way.

Everything that is drawn for a sample follows from the recipe's seed and the sample's number in the training alone. So
the samples are the same for any number of processes and workers, and a training that goes on where another was stopped
sees what that one would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from evaluation.data.labels import find_label, read_truth
from evaluation.data.lists import Entry, ImageList, cityscapes_list, locate, read_list
from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, ClassTable
from pytorch_icnet.imaging.images import read_image

from .augment import Augmentation

_IMAGES = (".png", ".jpg", ".jpeg")


class Sample(NamedTuple):
    """What a worker hands over."""

    blob: torch.Tensor
    """float32 3xHxW."""
    labels: torch.Tensor
    """uint8 HxW."""
    name: str
    """The image's path in the list."""
    failures: tuple[str, ...]
    """What was wrong with samples for which this one stands in."""


class Batch(NamedTuple):
    blobs: torch.Tensor
    """float32 Nx3xHxW."""
    labels: torch.Tensor
    """uint8 NxHxW."""
    names: list[str]
    failures: list[str]


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels."""

    entries: tuple[Entry, ...]
    root: Path
    table: ClassTable = CITYSCAPES_TABLE
    label_kind: str | None = None

    def read(self, index: int) -> tuple[Any, Any]:
        """An image, uint8 HxWx3 RGB, and its trainIds, uint8 HxW.

        Raises:
            InputError: a file is missing, damaged, or the two are not of one size; begins with the file's name.
        """
        entry = self.entries[index]
        path = locate(self.root, entry.image)
        try:
            rgb, labels = read_image(path), self.labels(entry)
        except OSError as error:
            raise InputError(f"{error.filename or path}: {error.strerror or error}") from error
        if rgb.shape[:2] != labels.shape:
            raise InputError(
                f"{path}: {rgb.shape[0]}x{rgb.shape[1]}, but its label is {labels.shape[0]}x{labels.shape[1]}"
            )
        return rgb, labels

    def labels(self, entry: Entry) -> Any:
        """The trainIds of an image, uint8 HxW."""
        return read_truth(locate(self.root, entry.label or ""), self.table, kind=self.label_kind).train_ids


def source_of(
    root: str | os.PathLike[str],
    list_file: str | os.PathLike[str] | None = None,
    *,
    split: str = "train",
    table: ClassTable = CITYSCAPES_TABLE,
    label_kind: str | None = None,
) -> LabelledImages:
    """The images of a list; or of a split in a folder, laid out as Cityscapes or as ``images/SPLIT``, ``labels/SPLIT``.

    Args:
        root: where paths start.
        list_file: see :func:`evaluation.data.lists.read_list`; None: all images of the split.
        split: "train" or "val", without a list.
        table, label_kind: see :func:`evaluation.data.labels.read_truth`.

    Raises:
        InputError: no images, or some without labels.
    """
    root = Path(root)
    if list_file is not None:
        images = read_list(list_file)
    elif (root / "images" / split).is_dir():
        images = _paired(root, split)
    else:
        images = cityscapes_list(root, split)
    if not images.has_labels:
        raise InputError(f"{images.path}: has no labels, without which nothing can be learnt")
    first = images.entries[0]
    if list_file is None and find_label(locate(root, first.label or "")) is None:
        raise InputError(f"{first.label}: no such label below {root}")
    return LabelledImages(images.entries, root, table, label_kind)


def _paired(root: Path, split: str) -> ImageList:
    """``images/SPLIT/x.jpg`` with ``labels/SPLIT/x.png``, in the order of their names."""
    folder = root / "images" / split
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not found:
        raise InputError(f"{folder}: holds no PNG or JPEG images")
    entries = []
    for number, path in enumerate(found, start=1):
        label = Path("labels", split, path.relative_to(folder)).with_suffix(".png")
        entries.append(Entry(path.relative_to(root).as_posix(), label.as_posix(), number))
    return ImageList(folder, tuple(entries))


class Samples(Dataset[Sample]):
    """The endless row of samples of a training; ``samples[n]`` is the n-th.

    In each pass through the images every one occurs once, in a new order. ``allow_corrupted`` failures one after
    another are stood in for.
    """

    def __init__(self, source: LabelledImages, augmentation: Augmentation, seed: int, allow_corrupted: int = 0) -> None:
        self.source, self.augmentation, self.seed = source, augmentation, seed
        self.allow_corrupted = allow_corrupted
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Of one pass."""
        return len(self.source.entries)

    def index(self, number: int) -> int:
        """Which image the n-th sample shows."""
        epoch, position = divmod(number, len(self))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self))
            self._epoch = epoch
        return int(self._order[position])

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.seed, 1, number))
        index = self.index(number)
        failures: list[str] = []
        while True:
            try:
                rgb, labels = self.source.read(index)
                break
            except InputError as error:
                failures.append(str(error))
                if len(failures) > self.allow_corrupted:
                    raise
                index = int(rng.integers(len(self)))
        blob, target = self.augmentation(rgb, labels, rng)
        return Sample(blob, target, self.source.entries[index].image, tuple(failures))


class Numbers(Sampler[list[int]]):
    """The numbers of one process's samples, a list for each pass forward and backward.

    Args:
        start, stop: iterations.
        batch: samples per iteration, of all processes.
        accumulate: passes per iteration.
        rank, size: of the process, and how many there are.
    """

    def __init__(self, start: int, stop: int, batch: int, accumulate: int = 1, rank: int = 0, size: int = 1) -> None:
        if batch % (accumulate * size):
            raise InputError(f"train.batch is {batch}; expected a multiple of {accumulate} passes x {size} processes")
        self.start, self.stop, self.batch, self.rank = start, stop, batch, rank
        self.size, self.parts = size, accumulate * size

    def __len__(self) -> int:
        return (self.stop - self.start) * self.parts // self.size

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch // self.parts
        for iteration in range(self.start, self.stop):
            for part in range(self.rank, self.parts, self.size):
                first = iteration * self.batch + part * share
                yield list(range(first, first + share))


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as one batch. Raises InputError: they are of different sizes."""
    sizes = {tuple(sample.labels.shape) for sample in samples}
    if len(sizes) > 1:
        raise InputError(
            f"{samples[0].name} and others: images of different sizes in one batch; give data.crop or data.resize"
        )
    return Batch(
        torch.stack([sample.blob for sample in samples]),
        torch.stack([sample.labels for sample in samples]),
        [sample.name for sample in samples],
        [failure for sample in samples for failure in sample.failures],
    )


def loader(samples: Samples, numbers: Numbers, workers: int, *, pin: bool = False) -> DataLoader[Sample]:
    """Reads the samples of ``numbers`` ahead, in ``workers`` processes, in their order."""
    return DataLoader(
        samples,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,  # a fork inherits OpenCV's locks, perhaps held
    )


def _start_worker(_: int) -> None:
    """Workers run beside each other, so each keeps to one thread."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


class CorruptedSamples:
    """Counts the samples that could not be read, of which ``limit`` different ones are borne."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.messages: list[str] = []

    def note(self, failures: Sequence[str]) -> list[str]:
        """Take note; returns those that are new. Raises InputError: there are more than the limit; names them all."""
        new = [message for message in dict.fromkeys(failures) if message not in self.messages]
        self.messages += new
        if len(self.messages) > self.limit:
            raise InputError(
                f"{len(self.messages)} samples cannot be read, more than data.allow_corrupted={self.limit}: "
                + "; ".join(self.messages)
            )
        return new
