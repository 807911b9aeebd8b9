"""A whole run: every source predicted, what is broken reported, and what it came to."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from icnet_common import console
from icnet_common.errors import InputError, user_message
from icnet_common.parallel import parallel_map, prefetch
from icnet_common.progress import ProgressBar
from pytorch_icnet.runtime.devices import device_name

from ..arrays import Bytes, Floats, Size
from ..imaging.windows import OVERLAP, CropRegion
from ..pipeline import ImageTask, Pipeline, Threads
from ..predictor import Predictor, Prepared, Scored, most_probable
from .outputs import SourceOutputs, Videos
from .sources import FrameSource, SourceFrame, numbered

STAGES = ("read", "prepare", "forward", "finish", "encode")

OUTSIDE = 255
"""The label of what is not predicted: ignored."""

AHEAD = 2
"""Frames that are decoded before their turn."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """How label maps are made of images."""

    predictor: Predictor
    region: CropRegion | None = None
    """The part of the image that is predicted."""
    window: Size | None = None
    """Of windows that slide over it."""
    overlap: float = OVERLAP


@dataclass
class FrameTask(ImageTask):
    """A frame on its way."""

    frame: SourceFrame
    method: Method
    outputs: SourceOutputs
    image: Bytes | None = None
    part: tuple[slice, slice] = (slice(None), slice(None))
    """The rows and columns of the region."""
    prepared: Prepared | None = None
    scored: Scored | None = None
    labels: Bytes | None = None
    probabilities: Floats | None = None
    pictures: dict[str, Bytes] = field(default_factory=dict)
    """Of a video's frame, by kind."""
    pixels: npt.NDArray[np.int64] | None = None
    """(256,) of each label."""
    size: Size | None = None
    error: Exception | None = None
    """Why there is no result: InputError or OSError."""

    def prepare(self) -> None:
        try:
            with self.timed("read"):
                image = self.image = self.frame.read()
            self.size = (image.shape[0], image.shape[1])
            with self.timed("prepare"):
                if self.method.region is not None:
                    self.part = self.method.region.within(self.size)
                if self.method.window is None:
                    self.prepared = self.method.predictor.prepare(np.ascontiguousarray(image[self.part]))
        except (InputError, OSError) as error:
            self.error = error

    def forward(self) -> None:
        if self.error is not None:
            return
        predictor, window = self.method.predictor, self.method.window
        with self.timed("forward"):
            if self.prepared is not None:
                self.scored, self.prepared = predictor.forward(self.prepared), None
                return
            assert self.image is not None and window is not None
            image = np.ascontiguousarray(self.image[self.part])
            if self.outputs.probability_file:
                self.probabilities = predictor.sliding(image, window, self.method.overlap)
            else:
                self.labels = predictor.sliding_labels(image, window, self.method.overlap)

    def finish(self) -> None:
        if self.error is not None:
            return
        assert self.image is not None
        with self.timed("finish"):
            if self.scored is not None:
                if self.outputs.probability_file:
                    self.probabilities = self.method.predictor.probabilities_of(self.scored)
                self.labels, self.scored = self.method.predictor.finish(self.scored), None
            elif self.probabilities is not None:
                self.labels = most_probable(self.probabilities)
            assert self.labels is not None
            labels, probabilities = self._whole(self.labels, self.probabilities)
            source, drawing = self.frame.source, self.outputs.drawing
            self.outputs.of(source).write(self.outputs.name(self.frame), self.image, labels, probabilities)
            kinds = self.outputs.pictures(source)
            self.pictures = {kind: drawing.picture(kind, self.image, labels) for kind in kinds}
            self.pixels = np.bincount(labels.ravel(), minlength=256)
        self.image = self.labels = self.probabilities = None

    def _whole(self, labels: Bytes, probabilities: Floats | None) -> tuple[Bytes, Floats | None]:
        """A region's label map and probabilities, CxHxW, in those of the whole image."""
        if self.size is None or labels.shape == self.size:
            return labels, probabilities
        whole = np.full(self.size, OUTSIDE, np.uint8)
        whole[self.part] = labels
        if probabilities is None:
            return whole, None
        padded = np.zeros((len(probabilities), *self.size), np.float32)
        padded[:, self.part[0], self.part[1]] = probabilities
        return whole, padded


def run(
    frames: Generator[SourceFrame, None, None], method: Method, outputs: SourceOutputs, threads: Threads | None = None
) -> Generator[FrameTask, None, None]:
    """Predict frames and write their files; yields each, in order, once its files are written.

    A frame that cannot be read is yielded with its ``error``. When this generator is closed, or fails, the videos that
    are being written are finished with the frames that they have.

    Raises:
        InputError: a result cannot be written, the network takes no such size, or ``frames`` raises it.
    """
    videos = Videos(outputs)

    def encode(task: FrameTask) -> FrameTask:
        if task.error is None:
            with task.timed("encode"):
                videos.write(task.frame, task.pictures)
            task.pictures.clear()
        return task

    pipeline: Pipeline[FrameTask] = Pipeline(threads or Threads.of(method.predictor))
    with (
        closing(frames),
        closing(videos),
        closing(prefetch(frames, AHEAD)) as read,
        closing(pipeline.map(FrameTask(frame, method, outputs) for frame in read)) as finished,
        # In a thread of its own, which Ctrl-C does not interrupt in the middle of a frame.
        closing(parallel_map(encode, finished, threads=1, in_flight=1)) as encoded,
    ):
        yield from encoded


@dataclass
class SourceResult:
    """What became of a source."""

    source: FrameSource
    frames: int = 0
    size: Size | None = None
    """Height and width."""
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Of each label."""
    error: str | None = None


@dataclass
class RunSummary:
    """What became of a run."""

    predictor: Predictor
    outputs: SourceOutputs
    results: dict[int, SourceResult]
    """By the source's place."""
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    """Seconds in all, of all threads."""
    seconds: float = 0.0
    complete: bool = False

    @property
    def frames(self) -> int:
        return sum(result.frames for result in self.results.values())

    @property
    def broken(self) -> int:
        return sum(result.error is not None for result in self.results.values())

    def line(self) -> str:
        """For the user."""
        rate = f"{self.frames / self.seconds:.1f} frames/s" if self.seconds else "no time"
        broken = f", {self.broken} of {len(self.results)} broken" if self.broken else ""
        return f"{self.frames} frames in {self.seconds:.1f} s ({rate}){broken}, in {self.outputs.root}"

    def as_data(self) -> dict[str, Any]:
        """For machines."""
        predictor = self.predictor
        return {
            "weights": predictor.card.weights_data(),
            "device": predictor.device.type,
            "device_name": device_name(predictor.device),
            "engines": [engine.as_data() for engine in predictor.engines],
            "native": predictor.native,
            "frames": self.frames,
            "seconds": self.seconds,
            "mean_ms": {stage: 1000 * spent / max(self.frames, 1) for stage, spent in self.stages.items()},
            "complete": self.complete,
            "sources": [self._source(result) for result in self.results.values()],
            "versions": console.versions(),
        }

    def _source(self, result: SourceResult) -> dict[str, Any]:
        files = self.outputs.files(result.source) if result.frames else []
        names = self.predictor.classes.names
        return {
            "input": result.source.label,
            "frames": result.frames,
            "size": None if result.size is None else list(result.size),
            "outputs": [str(path) for path in files],
            "pixels": {name: int(result.pixels[index]) for index, name in enumerate(names) if result.pixels[index]},
            "error": result.error,
        }


def predict(
    sources: Sequence[FrameSource],
    method: Method,
    outputs: SourceOutputs,
    summary: RunSummary,
    *,
    limit: int | None = None,
    skip_broken: bool = False,
) -> None:
    """Predict all sources; ``summary`` grows with every frame, and holds what was done should this be stopped.

    Raises:
        InputError: a source cannot be read, unless ``skip_broken``; or a result cannot be written.
        OSError: likewise.
    """
    places = {id(source): place for place, source in enumerate(sources)}

    def broken(source: FrameSource, error: Exception) -> None:
        if not skip_broken:
            raise _named(source, error) from error
        line = str(_named(source, error))
        summary.results[places[id(source)]].error = line
        logger.warning("%s; skipped", line)

    start = time.perf_counter()
    total = _total(sources, limit)
    known: set[str] = set()
    try:
        with (
            ProgressBar(total, "predict", unit="frames") as bar,
            closing(run(numbered(sources, limit, broken), method, outputs)) as finished,
        ):
            for work in finished:
                if work.error is not None:
                    broken(work.frame.source, work.error)
                    continue
                _count(work, summary, places)
                bar.advance()
                for note in (note for engine in method.predictor.engines for note in engine.notes):
                    if note not in known:
                        known.add(note)
                        logger.warning(note)
        summary.complete = True
    finally:
        summary.seconds = time.perf_counter() - start


def _count(work: FrameTask, summary: RunSummary, places: dict[int, int]) -> None:
    result = summary.results[places[id(work.frame.source)]]
    result.frames += 1
    result.size = work.size
    if work.pixels is not None:
        result.pixels += work.pixels
    for stage, seconds in work.seconds.items():
        summary.stages[stage] += seconds


def _named(source: FrameSource, error: Exception) -> InputError:
    """The error with the source's name, on one line."""
    message = user_message(error) or str(error)
    return InputError(message if source.label in message else f"{source.label}: {message}")


def _total(sources: Sequence[FrameSource], limit: int | None) -> int | None:
    """How many frames there are, where that is known; only asked where somebody looks at a bar."""
    if not sys.stderr.isatty():
        return None
    counts = [source.count() for source in sources]
    if any(number is None for number in counts):
        return limit
    total = sum(number or 0 for number in counts)
    return total if limit is None else min(total, limit)
