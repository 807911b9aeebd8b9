"""From frames to files: read, prepare, forward, finish, encode.

The stages of different frames overlap: while the network runs, the frames after it are decoded and those before it are
finished and written. A bounded number of frames is on its way at any time, and they leave in the order of their coming.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from icnet_common.parallel import StageTimer, parallel_map, prefetch

from .imaging.region import Region
from .imaging.windows import OVERLAP
from .outputs import Outputs, Videos
from .predict.sources import Frame
from .predictor import Predictor, Prepared, Scored, most_probable

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Size = tuple[int, int]

STAGES = ("read", "prepare", "forward", "finish", "encode")

OUTSIDE = 255
"""The label of what is not predicted: ignored."""

AHEAD = 2
"""Frames that are decoded before their turn."""


@dataclass(frozen=True)
class Method:
    """How label maps are made of images."""

    predictor: Predictor
    region: Region | None = None
    """The part of the image that is predicted."""
    window: Size | None = None
    """Of windows that slide over it."""
    overlap: float = OVERLAP


@dataclass
class Work(StageTimer):
    """A frame on its way. What a stage no longer needs is dropped."""

    frame: Frame
    image: Bytes | None = None
    part: tuple[slice, slice] | None = None
    """The rows and columns of the region."""
    prepared: Prepared | None = None
    scored: Scored | None = None
    labels: Bytes | None = None
    probabilities: Floats | None = None
    pictures: dict[str, Bytes] = field(default_factory=dict)
    pixels: npt.NDArray[np.int64] | None = None
    """(256,) of each label."""
    size: Size | None = None
    error: Exception | None = None
    """Why there is no result: InputError or OSError."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; videos are decoded before."""


def run(frames: Generator[Frame, None, None], method: Method, outputs: Outputs) -> Generator[Work, None, None]:
    """Predict frames and write their files; yields each, in order, once its files are written.

    A frame that cannot be read is yielded with its ``error``. When this generator is closed, or fails, the videos that
    are being written are finished with the frames that they have.

    Raises:
        InputError: a result cannot be written, the network takes no such size, or ``frames`` raises it.
    """
    videos = Videos(outputs)

    def begin(frame: Frame) -> Work:
        work = Work(frame)
        try:
            _begin(work, method)
        except (InputError, OSError) as error:
            work.error = error
        return work

    def forward(work: Work) -> Work:
        if work.error is None:
            with work.timed("forward"):
                _forward(work, method, outputs)
        return work

    def finish(work: Work) -> Work:
        if work.error is None:
            with work.timed("finish"):
                _finish(work, method, outputs)
        return work

    def encode(work: Work) -> Work:
        if work.error is None:
            with work.timed("encode"):
                videos.write(work.frame, work.pictures)
            work.pictures.clear()
        return work

    spare = max(1, min(os.cpu_count() or 1, 8) // 2)
    with (
        closing(frames),
        closing(videos),
        closing(prefetch(frames, AHEAD)) as read,
        closing(parallel_map(begin, read, threads=spare, in_flight=spare + 1)) as begun,
        closing(parallel_map(forward, begun, threads=1, in_flight=1)) as scored,
        closing(parallel_map(finish, scored, threads=spare, in_flight=spare)) as finished,
        closing(parallel_map(encode, finished, threads=1, in_flight=1)) as encoded,
    ):
        yield from encoded


def _begin(work: Work, method: Method) -> None:
    with work.timed("read"):
        image = work.image = work.frame.read()
    work.size = (image.shape[0], image.shape[1])
    with work.timed("prepare"):
        whole = (slice(0, work.size[0]), slice(0, work.size[1]))
        work.part = method.region.within(work.size) if method.region else whole
        if method.window is None:
            work.prepared = method.predictor.prepare(np.ascontiguousarray(image[work.part]))


def _forward(work: Work, method: Method, outputs: Outputs) -> None:
    if work.prepared is not None:
        work.scored, work.prepared = method.predictor.forward(work.prepared), None
        return
    assert work.image is not None and work.part is not None and method.window is not None
    image = np.ascontiguousarray(work.image[work.part])
    if outputs.features:
        work.probabilities = method.predictor.sliding(image, method.window, method.overlap)
    else:
        work.labels = method.predictor.sliding_labels(image, method.window, method.overlap)


def _finish(work: Work, method: Method, outputs: Outputs) -> None:
    assert work.image is not None and work.part is not None
    if work.scored is not None:
        if outputs.features:
            work.probabilities = method.predictor.probabilities_of(work.scored)
        work.labels = method.predictor.labels_of(work.scored)
        work.scored = None
    elif work.probabilities is not None:
        work.labels = most_probable(work.probabilities)
    assert work.labels is not None
    height, width = work.image.shape[:2]
    labels, probabilities = work.labels, work.probabilities
    if labels.shape != (height, width):
        labels = np.full((height, width), OUTSIDE, np.uint8)
        labels[work.part] = work.labels
        if probabilities is not None:
            probabilities = np.zeros((len(probabilities), height, width), np.float32)
            probabilities[:, work.part[0], work.part[1]] = work.probabilities
    work.pictures = outputs.write(work.frame, work.image, labels, probabilities)
    work.pixels = np.bincount(labels.ravel(), minlength=256)
    work.image = work.labels = work.probabilities = None
