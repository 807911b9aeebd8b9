"""From a list of images to label maps, files and scores: read, preprocess, forward, postprocess, write, score.

The stages of different images overlap: some threads read ahead and others finish label maps while the net runs, so that
neither the disk nor MATLAB's arithmetic keeps the net waiting. A bounded number of images is on its way at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from icnet_common.errors import InputError
from icnet_common.files import digest
from icnet_common.parallel import StageTimer, parallel_map
from pytorch_icnet.datasets.classes import ClassTable
from pytorch_icnet.imaging.images import NotALabelMap, read_image, read_label_map

from .data.labels import find_label, read_truth
from .data.lists import Entry, locate
from .network import Network, Threads
from .outputs import Outputs
from .protocols import GroundTruth, ImageStats, Logits, ModelInput, Prediction, Protocol

T = TypeVar("T")

STAGES = ("read", "preprocess", "forward", "postprocess", "write", "score")


@dataclass
class Work(StageTimer):
    """An image on its way. What a stage no longer needs is dropped."""

    index: int
    """The entry's place in the list."""
    entry: Entry
    image: npt.NDArray[np.uint8] | None = None
    """RGB, uint8 HxWx3."""
    blobs: dict[ModelInput, torch.Tensor] = field(default_factory=dict)
    logits: dict[ModelInput, Logits] = field(default_factory=dict)
    records: dict[str, ImageStats] = field(default_factory=dict)
    """By protocol; empty where there is nothing to score with."""
    skipped: str | None = None
    """Why it was not scored."""
    inputs: dict[str, str] = field(default_factory=dict)
    """SHA-256 of what it is made from, see :meth:`Scoring.inputs`."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files that were made, by their path below the root of the outputs."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""


@dataclass(frozen=True)
class Scoring:
    """What a run's label maps are scored with."""

    protocols: Sequence[Protocol]
    """At least one; the label maps of the first are written."""
    table: ClassTable
    data_root: Path
    label_kind: str | None = None
    """See :func:`evaluation.data.labels.read_truth`."""

    def inputs(self, entry: Entry) -> dict[str, Path]:
        """The files that an image's results are made from, by what they are."""
        inputs = {"image": locate(self.data_root, entry.image)}
        if entry.label is not None and (label := find_label(locate(self.data_root, entry.label))):
            inputs["label"] = label
        return inputs

    def score(self, work: Work, predictions: Mapping[str, Prediction]) -> None:
        """Measure an image's label maps, by protocol; ``work.skipped`` says why where that cannot be done."""
        label = work.entry.label
        if label is None:
            return
        path = locate(self.data_root, label)
        if find_label(path) is None:
            work.skipped = f"{path}: no such label; skipped"
            return
        with work.timed("score"):
            truth = self.truth(path)
            for protocol in self.protocols:
                record = protocol.measure(predictions[protocol.name], truth, work.entry.image)
                work.records[protocol.name] = record

    def truth(self, path: Path) -> GroundTruth:
        instances = any(protocol.needs_instances for protocol in self.protocols)
        return read_truth(path, self.table, instances=instances, kind=self.label_kind)


def predict(
    network: Network,
    items: Sequence[tuple[int, Entry]],
    scoring: Scoring,
    outputs: Outputs,
    threads: Threads,
    note: Callable[[Work], None] = lambda work: None,
) -> Generator[Work, None, None]:
    """Write and score the label maps of images; yields each, in order, once its files are written.

    Args:
        network: see :func:`evaluation.network.open_network`.
        items: lines of a list and their places in it.
        scoring: the protocols, which also say what the network is fed.
        outputs: where the files go.
        threads: how many images are in work at once.
        note: is told of each image in the thread that finished it, in no order: even of those that are never yielded
            because the run is stopped.

    Raises:
        InputError: an image or a label cannot be used, the network takes no such size, or the disk is full.
    """

    def read(item: tuple[int, Entry]) -> Work:
        work = Work(*item)
        with work.timed("read"):
            work.image = read_image(locate(scoring.data_root, work.entry.image))
        with work.timed("preprocess"):
            size = _size(work)
            work.blobs = {view: view.blob(work.image) for p in scoring.protocols for view in p.inputs(size)}
        return work

    def forward(work: Work) -> Work:
        with work.timed("forward"):
            while work.blobs:
                view = next(iter(work.blobs))
                work.logits[view] = network.logits(work.blobs.pop(view), view)
        return work

    def finish(work: Work) -> Work:
        _finish(work, scoring, outputs)
        note(work)
        return work

    with (
        one_thread_each(),
        closing(parallel_map(read, items, threads=threads.read, in_flight=threads.read + 1)) as blobs,
        closing(parallel_map(forward, blobs, threads=threads.forward, in_flight=threads.forward)) as scores,
        closing(parallel_map(finish, scores, threads=threads.finish, in_flight=threads.finish)) as finished,
    ):
        yield from finished


def score_files(
    items: Sequence[tuple[int, Entry]], scoring: Scoring, predictions: Path, threads: int
) -> Generator[Work, None, None]:
    """Score the label maps in a folder; yields each entry in order, ``skipped`` saying why one was not scored.

    Raises:
        InputError: a prediction is missing or a file is damaged.
    """

    def score(item: tuple[int, Entry]) -> Work:
        work = Work(*item)
        path = predictions / f"{work.entry.stem}.png"
        if not path.exists():
            raise InputError(
                f"{path}: no such prediction, for {work.entry.image} in line {work.entry.line} of the list"
            )
        try:
            with work.timed("read"):
                prediction = Prediction(read_label_map(path))
        except NotALabelMap as reason:
            work.skipped = f"{reason}; skipped"
            return work
        scoring.score(work, {protocol.name: prediction for protocol in scoring.protocols})
        return work

    with closing(parallel_map(score, items, threads=threads, in_flight=2 * threads)) as scored:
        yield from scored


def _finish(work: Work, scoring: Scoring, outputs: Outputs) -> None:
    size, first = _size(work), scoring.protocols[0]
    predictions: dict[str, Prediction] = {}
    probabilities: npt.NDArray[np.float32] | None = None
    with work.timed("postprocess"):
        for protocol in scoring.protocols:
            logits = [work.logits[view] for view in protocol.inputs(size)]
            predictions[protocol.name] = protocol.finish(logits, size)
            if protocol is first and outputs.features:
                probabilities = protocol.probabilities(logits, size)
        work.logits.clear()
        labels = predictions[first.name].at(size)
    with work.timed("write"):
        outputs.write(work.entry.stem, labels, work.image, probabilities)
        work.inputs = {what: digest(path) for what, path in scoring.inputs(work.entry).items()}
        work.files = {
            path.relative_to(outputs.root).as_posix(): digest(path) for path in outputs.files(work.entry.stem)
        }
    work.image = None
    scoring.score(work, predictions)


def _size(work: Work) -> tuple[int, int]:
    assert work.image is not None
    height, width = work.image.shape[:2]
    return height, width


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch compute each image in one thread, so that no result depends on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
