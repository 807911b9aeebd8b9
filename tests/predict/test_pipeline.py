"""The stages overlap, in order, with few frames on their way, and end in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path, PurePath
from threading import Event
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from icnet_common.errors import InputError
from pytorch_icnet.outputs import Drawing
from pytorch_icnet.pipeline import Threads
from pytorch_icnet.predict.job import FrameTask, Method, run
from pytorch_icnet.predict.outputs import SourceOutputs
from pytorch_icnet.predict.sources import SourceFrame, Video
from pytorch_icnet.predict.video_files import ClipTiming

from .clips import images, number_of, numbered

Bytes = NDArray[np.uint8]

CLIP = ClipTiming(Fraction(10), Fraction(1, 10))

THREADS = Threads(1, 1, 1)

PATIENCE = 20
"""Seconds after which what is waited for never happens."""


class Steps:
    """Stands in for a predictor: its steps hand the frame's number on, and call back."""

    def __init__(
        self, forward: Callable[[int], None] = lambda number: None, finish: Callable[[int], None] = lambda number: None
    ) -> None:
        self._forward, self._finish = forward, finish

    def prepare(self, rgb: Bytes) -> int:
        return number_of(rgb)

    def forward(self, number: int) -> int:
        self._forward(number)
        return number

    def finish(self, number: int) -> Bytes:
        self._finish(number)
        return np.full(numbered(0).shape[:2], number % 19, np.uint8)


def method(steps: Steps) -> Method:
    return Method(cast("Any", steps))


def frames(count: int, begun: Callable[[int], None] = lambda number: None) -> Generator[SourceFrame, None, None]:
    source = Video(Path("clip.mp4"), PurePath("clip"))
    for number in range(count):
        begun(number)
        image = numbered(number)
        yield SourceFrame(source, number, lambda image=image: image, number * CLIP.tick, CLIP.tick, CLIP)  # type: ignore[misc]


def test_stages_overlap(tmp_path: Path) -> None:
    """While the network runs, the next frame is decoded; while a frame is finished, the network runs on the next."""
    count = 12
    decoded, scored = ([Event() for _ in range(count)] for _ in range(2))

    def forward(number: int) -> None:
        scored[number].set()
        assert number + 1 == count or decoded[number + 1].wait(PATIENCE)

    def finish(number: int) -> None:
        assert number + 1 == count or scored[number + 1].wait(PATIENCE)

    outputs = SourceOutputs(tmp_path, ("overlay",))
    clip = frames(count, lambda number: decoded[number].set())
    found = [work.frame.number for work in run(clip, method(Steps(forward, finish)), outputs, THREADS)]
    assert found == list(range(count))


def test_few_frames_are_on_their_way(tmp_path: Path) -> None:
    gate = Event()
    taken: list[int] = []
    clip = frames(500, taken.append)

    def forward(number: int) -> None:
        if number >= 3:
            gate.wait(PATIENCE)

    works = run(clip, method(Steps(forward)), SourceOutputs(tmp_path), THREADS)
    assert next(works).frame.number == 0
    before = -1
    while len(taken) != before:  # until nothing moves any more
        before = len(taken)
        time.sleep(0.2)
    assert len(taken) < 40
    gate.set()
    works.close()
    assert len(taken) < 60


def test_an_error_leaves_what_was_before_it(tmp_path: Path) -> None:
    def finish(number: int) -> None:
        if number == 6:
            raise InputError("the disk is full")

    works = run(
        frames(50), method(Steps(finish=finish)), SourceOutputs(tmp_path, ("overlay",), Drawing(alpha=0.2)), THREADS
    )
    done: list[FrameTask] = []
    with pytest.raises(InputError, match="the disk is full"):
        done.extend(works)
    found = [number_of(image) for image in images(tmp_path / "overlay" / "clip.mp4")]
    assert found in ([*range(4)], [*range(5)], [*range(6)])  # the last ones may not have been encoded yet


def test_frames_that_cannot_be_read_are_handed_on(tmp_path: Path) -> None:
    def broken() -> Bytes:
        raise InputError("clip.png: damaged")

    def some() -> Generator[SourceFrame, None, None]:
        for frame in frames(4):
            yield SourceFrame(frame.source, frame.number, broken, clip=CLIP) if frame.number == 1 else frame

    errors = [work.error for work in run(some(), method(Steps()), SourceOutputs(tmp_path, ("overlay",)), THREADS)]
    assert [str(error) if error else None for error in errors] == [None, "clip.png: damaged", None, None]
