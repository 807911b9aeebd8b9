"""What happens to one image of a list: it is predicted, written, and scored."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from icnet_common.files import digest
from icnet_common.parallel import StageTimer, parallel_map
from pytorch_icnet.datasets.classes import ClassTable
from pytorch_icnet.imaging.images import NotALabelMap, read_image, read_label_map
from pytorch_icnet.outputs import Outputs
from pytorch_icnet.pipeline import ImageTask
from pytorch_icnet.predictor import Predictor, Prepared, Scored

from ..data.labels import find_label, read_truth
from ..data.lists import Entry, locate
from ..protocols import GroundTruth, ImageStats, Prediction, Protocol

STAGES = ("read", "preprocess", "forward", "postprocess", "write", "score")


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
    """

    protocols: Sequence[Protocol]
    table: ClassTable
    data_root: Path
    label_kind: str | None = None

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

    def truth(self, path: Path) -> GroundTruth:
        """The labels of an image."""
        instances = any(protocol.needs_instances for protocol in self.protocols)
        return read_truth(path, self.table, instances=instances, kind=self.label_kind)


@dataclass(frozen=True)
class Context:
    """What all images of a run share.

    Attributes:
        predictor: the network; the protocols say what it is fed.
        scoring: the protocols.
        outputs: where the files go.
        note: is told of each image in the thread that finished it, in no order: even of those that are never asked for
            because the run is stopped.
    """

    predictor: Predictor
    scoring: Scoring
    outputs: Outputs
    note: Callable[[EvaluationTask], None] = lambda task: None


@dataclass
class EvaluationTask(ImageTask):
    """An image on its way. What a stage no longer needs is dropped.

    Attributes:
        index: the entry's place in the list.
        entry: a line of the list.
        context: of the run.
        image: RGB, uint8 HxWx3.
        score: once it is finished.
        inputs: SHA-256 of what it is made from, see :meth:`Scoring.inputs`.
        files: SHA-256 of the files that were made, by their path below the root of the outputs.
    """

    index: int
    entry: Entry
    context: Context
    image: npt.NDArray[np.uint8] | None = None
    prepared: Prepared | None = None
    scored: Scored | None = None
    score: EntryScore = field(default_factory=EntryScore)
    inputs: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        scoring = self.context.scoring
        with self.timed("read"):
            self.image = read_image(locate(scoring.data_root, self.entry.image))
        with self.timed("preprocess"):
            self.prepared = self.context.predictor.prepare(self.image, [each.recipe for each in scoring.protocols])

    def forward(self) -> None:
        assert self.prepared is not None
        with self.timed("forward"):
            self.scored, self.prepared = self.context.predictor.forward(self.prepared), None

    def finish(self) -> None:
        scoring, outputs = self.context.scoring, self.context.outputs
        assert self.scored is not None and self.image is not None
        scored, size, first = self.scored, self.scored.size, scoring.protocols[0]
        probabilities = None
        with self.timed("postprocess"):
            predictions = {each.name: each.finish(scored.of(each.recipe), size) for each in scoring.protocols}
            if outputs.wants_probabilities:
                probabilities = first.probabilities(scored.of(first.recipe), size).transpose(2, 0, 1)
            labels = predictions[first.name].at(size)
            self.scored = None
        with self.timed("write"):
            outputs.write(self.entry.stem, self.image, labels, probabilities)
            self.inputs = {what: digest(path) for what, path in scoring.inputs(self.entry).items()}
            paths = outputs.files(self.entry.stem)
            self.files = {path.relative_to(outputs.root).as_posix(): digest(path) for path in paths}
            self.image = None
        if self.entry.label is not None:
            with self.timed("score"):
                self.score = scoring.score(self.entry, predictions)
        self.context.note(self)


@dataclass
class FileTask(StageTimer):
    """A label map in a file, and its score.

    Attributes:
        index: the entry's place in the list.
        entry: a line of the list.
    """

    index: int
    entry: Entry
    score: EntryScore = field(default_factory=EntryScore)
    seconds: dict[str, float] = field(default_factory=dict)


def score_files(
    items: Sequence[tuple[int, Entry]], scoring: Scoring, predictions: Path, threads: int
) -> Generator[FileTask, None, None]:
    """Score the label maps in a folder; yields each entry in order, ``skipped`` saying why one was not scored.

    Raises:
        InputError: a prediction is missing or a file is damaged.
    """

    def score(item: tuple[int, Entry]) -> FileTask:
        task = FileTask(*item)
        path = predictions / f"{task.entry.stem}.png"
        if not path.exists():
            raise InputError(
                f"{path}: no such prediction, for {task.entry.image} in line {task.entry.line} of the list"
            )
        try:
            with task.timed("read"):
                prediction = Prediction(read_label_map(path))
        except NotALabelMap as reason:
            task.score = EntryScore(skipped=f"{reason}; skipped")
            return task
        task.score = scoring.score(task.entry, {protocol.name: prediction for protocol in scoring.protocols})
        return task

    with closing(parallel_map(score, items, threads=threads, in_flight=2 * threads)) as scored:
        yield from scored
