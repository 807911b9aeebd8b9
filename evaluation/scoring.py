"""From label maps to scores: the one way that a run, ``--score-only`` and :func:`score` share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from icnet_common.errors import InputError
from icnet_common.parallel import parallel_map
from pytorch_icnet.datasets.classes import ClassTable, plain_table
from pytorch_icnet.imaging.images import NotALabelMap, read_label_map

from .data.labels import find_label, read_truth
from .data.lists import Entry, ImageList, locate, read_list
from .protocols import GroundTruth, ImageScore, ImageStats, MetricAccumulator, Prediction, Protocol, ProtocolSettings
from .protocols.official import Official, Scores

__all__ = ["EntryScore", "ImageScore", "Scores", "Scoring", "first_lines", "score", "score_files"]

logger = logging.getLogger(__name__)

_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class EntryScore:
    """What an image adds to the figures.

    Attributes:
        stats: by protocol; empty where there is nothing to score with.
        skipped: why it was not scored.
    """

    stats: Mapping[str, ImageStats] = field(default_factory=dict)
    skipped: str | None = None


@dataclass(frozen=True)
class Scoring:
    """What a run's label maps are scored with.

    Attributes:
        protocols: at least one; the label maps of the first are written.
        table: the classes.
        data_root: where the list's paths start.
        label_kind: see :func:`evaluation.data.labels.read_truth`.
        lenient: see there.
    """

    protocols: Sequence[Protocol]
    table: ClassTable
    data_root: Path
    label_kind: str | None = None
    lenient: bool = False

    def inputs(self, entry: Entry) -> dict[str, Path]:
        """The files that an image's results are made from, by what they are."""
        inputs = {"image": locate(self.data_root, entry.image)}
        if entry.label is not None and (label := find_label(locate(self.data_root, entry.label))):
            inputs["label"] = label
        return inputs

    def score(self, entry: Entry, predictions: Mapping[str, Prediction]) -> EntryScore:
        """Measure an image's label maps, by protocol."""
        if entry.label is None:
            return EntryScore()
        path = locate(self.data_root, entry.label)
        if find_label(path) is None:
            return EntryScore(skipped=f"{path}: no such label; skipped")
        truth = self.truth(path)
        return EntryScore(
            {each.name: each.measure(predictions[each.name], truth, entry.image) for each in self.protocols}
        )

    def score_file(self, entry: Entry, path: Path) -> EntryScore:
        """Measure the label map in a file.

        Raises:
            InputError: it is not there, or a file is damaged.
        """
        if not path.exists():
            raise InputError(f"{path}: no such prediction, for {entry.image} in line {entry.line} of the list")
        try:
            prediction = Prediction(read_label_map(path))
        except NotALabelMap as reason:
            return EntryScore(skipped=f"{reason}; skipped")
        return self.score(entry, {protocol.name: prediction for protocol in self.protocols})

    def truth(self, path: Path) -> GroundTruth:
        """The labels of an image."""
        instances = any(protocol.needs_instances for protocol in self.protocols)
        return read_truth(path, self.table, instances=instances, kind=self.label_kind, lenient=self.lenient)


def score(
    predictions: str | os.PathLike[str],
    list_file: str | os.PathLike[str],
    data_root: str | os.PathLike[str],
    num_classes: int = 19,
) -> Scores:
    """Score a folder of predicted label maps against the labels of a list, as ``eval_acc.m`` does.

    As many of the list's first lines are scored as the folder has PNG files. A line whose label is missing, or whose
    prediction has colours, is skipped with a warning (``logging``).

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
    entries = first_lines(read_list(list_file), Path(predictions))
    table = plain_table(num_classes)
    official = Official(ProtocolSettings(table=table))
    scoring = Scoring([official], table, Path(data_root), lenient=True)
    (sums,) = score_files(entries, scoring, Path(predictions)).values()
    sums.result()  # raises where there is none
    return Scores(sums.in_order())


def score_files(
    entries: Sequence[Entry],
    scoring: Scoring,
    predictions: Path,
    show: Callable[[int, ImageScore], None] = lambda index, image: None,
) -> dict[str, MetricAccumulator]:
    """The sums of the label maps in a folder, by protocol.

    Args:
        entries: lines of a list with labels.
        scoring: what to score with.
        predictions: the folder.
        show: is told of each scored image in the order of the list: its place from 0, and the first protocol's score.

    Raises:
        InputError: a prediction is missing or a file is damaged.
    """
    sums = {protocol.name: protocol.tally() for protocol in scoring.protocols}

    def scored(entry: Entry) -> EntryScore:
        return scoring.score_file(entry, predictions / f"{entry.stem}.png")

    with closing(parallel_map(scored, entries, threads=_THREADS, in_flight=2 * _THREADS)) as outcomes:
        for index, outcome in enumerate(outcomes):
            if outcome.skipped:
                logger.warning(outcome.skipped)
            images = [sums[name].add(index, stats) for name, stats in outcome.stats.items()]
            if images:
                show(index, images[0])
    return sums


def first_lines(listed: ImageList, predictions: Path) -> tuple[Entry, ...]:
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
        logger.warning(f"{predictions}: {count} PNG files, but {listed.path} has only {len(listed.entries)} lines")
    return listed.entries[:count]
