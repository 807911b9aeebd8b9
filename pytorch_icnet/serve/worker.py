"""What requests ask of the network, and the thread that lets it answer them.

Requests ask for label maps in several forms, and for Supervisely's annotations. They wait in a bounded queue, from
which the worker takes them in batches, for the one network.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from icnet_common.config import parse_json
from icnet_common.errors import InputError

from ..arrays import Bytes
from ..imaging.images import decode_image
from ..outputs import Drawing
from ..pipeline import ImageTask, Pipeline, Threads
from ..predictor import Prepared, Scored
from ..supervisely.annotation import Annotation, AnnotationFigure, annotation_of, size_of
from ..supervisely.meta import Meta
from ..supervisely.modes import DeployedModel, Inference
from ..supervisely.shapes import Bitmap

NAME = "the image"
"""For messages."""

MAX_PASSES = 64
"""Parts of one image that a request may have the network look at."""

PNG, JSON = "image/png", "application/json"

FORMS = {"labels": PNG, "colour": PNG, "overlay": PNG, "annotation": JSON}
"""The forms of a label map by their name in requests, and their media types. The first three are those of
:data:`pytorch_icnet.outputs.KINDS`; the last is a Supervisely annotation, a bitmap per class."""


def _as_json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(repr=False)
class Answer(ImageTask):
    """A task that makes the body of an answer.

    Attributes:
        data: a PNG or JPEG file's content.
        max_pixels: of the image.
        body: the answer, once the task is finished.
    """

    data: bytes
    max_pixels: int
    body: bytes = field(init=False)
    _rgb: Bytes = field(init=False)

    def prepare(self) -> None:
        """Decode the image; raises InputError where it is damaged, or too large."""
        self._rgb = decode_image(self.data, NAME, max_pixels=self.max_pixels)


@dataclass(repr=False)
class LabelMapAnswer(Answer):
    """A label map of an image.

    Attributes:
        model: the network.
        form: of :data:`FORMS`.
    """

    model: DeployedModel
    form: str
    _prepared: Prepared = field(init=False)
    _scored: Scored = field(init=False)

    def prepare(self) -> None:
        super().prepare()
        self._prepared = self.model.predictor.prepare(self._rgb)

    def forward(self) -> None:
        self._scored = self.model.predictor.forward(self._prepared)
        del self._prepared

    def finish(self) -> None:
        labels = self.model.predictor.finish(self._scored)
        if self.form == "annotation":
            self.body = _as_json(self._annotation(labels).as_data())
        else:
            self.body = Drawing(self.model.predictor.classes).encode(self.form, self._rgb, labels)

    def _annotation(self, labels: Bytes) -> Annotation:
        masks = ((written.title, labels == index) for index, written in sorted(self.model.classes.items()))
        figures = tuple(AnnotationFigure(title, Bitmap.of(mask)) for title, mask in masks if mask.any())
        return Annotation((labels.shape[0], labels.shape[1]), figures)


@dataclass(repr=False)
class AnnotationAnswer(Answer):
    """An annotation with what the network sees added.

    Attributes:
        inference: how.
        annotation: of the image, as JSON with the classes of ``meta``; empty: none.
        meta: the project's classes.
    """

    inference: Inference
    annotation: bytes
    meta: Meta
    _found: Annotation = field(init=False)

    def prepare(self) -> None:
        super().prepare()
        size = (self._rgb.shape[0], self._rgb.shape[1])
        if not self.annotation:
            self._found = Annotation(size)
            return
        data = parse_json(self.annotation, "annotation", len(self.annotation))
        if size_of(data, "annotation") != size:  # before bitmaps are unpacked, whose limit is the annotation's size
            raise InputError(f"the image is {size[0]}x{size[1]}, but its annotation is for another size")
        self._found = annotation_of(data, self.meta, "annotation")

    def forward(self) -> None:
        passes = self.inference.passes(self._found)
        if passes > MAX_PASSES:
            raise InputError(f"the mode looks at {passes} parts of the image, more than the {MAX_PASSES} allowed here")
        self._found, _ = self.inference.annotate(self._rgb, self._found)

    def finish(self) -> None:
        self.body = _as_json(self._found.as_data())


class Busy(Exception):
    """The queue is full."""


@dataclass
class _Job:
    task: Answer
    answer: Future[bytes] = field(default_factory=Future)

    def settle(self, done: Future[Answer]) -> None:
        """Hand on what came of the task."""
        if (error := done.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(done.result().body)


class Worker:
    """Does the work of requests.

    Images are decoded when their turn comes, a batch at a time, so that what waits takes no more memory than it did on
    the way here.

    Args:
        length: so many requests may wait.
        batch: so many are taken from the queue together.
        threads: for the stages before and after the network, where one image is at a time.
        seen: is given the size of each batch.
    """

    def __init__(
        self, length: int, batch: int = 4, threads: int | None = None, seen: Callable[[int], None] | None = None
    ) -> None:
        self.batch = batch
        self._seen = seen or (lambda _: None)
        self._waiting: queue.Queue[_Job | None] = queue.Queue(length)
        self._closed = False
        beside = threads or min(batch, os.cpu_count() or 1)
        self._pipeline: Pipeline[Answer] = Pipeline(Threads(beside, 1, beside))
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._closed

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._waiting.qsize()

    def submit(self, task: Answer) -> Future[bytes]:
        """Let a request wait for its turn. A future that is cancelled before its turn costs nothing.

        Raises:
            Busy: the queue is full, or the worker is closed.
        """
        job = _Job(task)
        if self._closed:
            raise Busy("the server is stopping")
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            raise Busy("too many requests are waiting") from None
        return job.answer

    def close(self) -> None:
        """Finish what waits, and end."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        self._pipeline.close()
        while not self._waiting.empty():  # what came in between
            late = self._waiting.get_nowait()
            if late is not None:
                late.answer.cancel()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            jobs = [first]
            while len(jobs) < self.batch:
                try:
                    job = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._waiting.put(None)
                    break
                jobs.append(job)
            jobs = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
            if jobs:
                self._seen(len(jobs))
            passing = []
            for job in jobs:
                passing.append(self._pipeline.submit(job.task))
                passing[-1].add_done_callback(job.settle)
            wait(passing)
