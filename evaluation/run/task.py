"""What happens to one image of a list: it is predicted, written, and scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from icnet_common.files import digest
from pytorch_icnet.imaging.images import read_image
from pytorch_icnet.outputs import Outputs
from pytorch_icnet.pipeline import ImageTask
from pytorch_icnet.predictor import Predictor, Prepared, Scored

from ..data.lists import Entry, locate
from ..scoring import EntryScore, Scoring

STAGES = ("read", "preprocess", "forward", "postprocess", "write", "score")


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
