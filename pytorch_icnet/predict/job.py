"""A whole run: every source predicted, what is broken reported, and what it came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from icnet_common import console
from icnet_common.errors import InputError, user_message
from pytorch_icnet.runtime.devices import device_name

from ..outputs import Outputs
from ..pipeline import STAGES, Method, Size, Work, run
from ..predictor import Predictor
from .sources import Source, numbered

Say = Callable[[str], None]


@dataclass
class Result:
    """What became of a source."""

    source: Source
    frames: int = 0
    size: Size | None = None
    """Height and width."""
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    """Of each label."""
    error: str | None = None


@dataclass
class Summary:
    """What became of a run."""

    predictor: Predictor
    outputs: Outputs
    results: dict[int, Result]
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

    def _source(self, result: Result) -> dict[str, Any]:
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
    sources: Sequence[Source],
    method: Method,
    outputs: Outputs,
    summary: Summary,
    *,
    limit: int | None = None,
    skip_broken: bool = False,
    say: Say = lambda line: None,
) -> None:
    """Predict all sources; ``summary`` grows with every frame, and holds what was done should this be stopped.

    Raises:
        InputError: a source cannot be read, unless ``skip_broken``; or a result cannot be written.
        OSError: likewise.
    """
    places = {id(source): place for place, source in enumerate(sources)}

    def broken(source: Source, error: Exception) -> None:
        if not skip_broken:
            raise _named(source, error) from error
        line = str(_named(source, error))
        summary.results[places[id(source)]].error = line
        say(f"{line}; skipped")

    start = time.perf_counter()
    total = _total(sources, limit)
    known: set[str] = set()
    try:
        with (
            tqdm(total=total, unit=" frames", disable=None, dynamic_ncols=True, leave=False) as bar,
            closing(run(numbered(sources, limit, broken), method, outputs)) as finished,
        ):
            for work in finished:
                if work.error is not None:
                    broken(work.frame.source, work.error)
                    continue
                _count(work, summary, places)
                bar.update()
                for note in (note for engine in method.predictor.engines for note in engine.notes):
                    if note not in known:
                        known.add(note)
                        say(note)
        summary.complete = True
    finally:
        summary.seconds = time.perf_counter() - start


def _count(work: Work, summary: Summary, places: dict[int, int]) -> None:
    result = summary.results[places[id(work.frame.source)]]
    result.frames += 1
    result.size = work.size
    if work.pixels is not None:
        result.pixels += work.pixels
    for stage, seconds in work.seconds.items():
        summary.stages[stage] += seconds


def _named(source: Source, error: Exception) -> InputError:
    """The error with the source's name, on one line."""
    message = user_message(error) or str(error)
    return InputError(message if source.label in message else f"{source.label}: {message}")


def _total(sources: Sequence[Source], limit: int | None) -> int | None:
    """How many frames there are, where that is known; only asked where somebody looks at a bar."""
    if not sys.stderr.isatty():
        return None
    counts = [source.count() for source in sources]
    if any(number is None for number in counts):
        return limit
    total = sum(number or 0 for number in counts)
    return total if limit is None else min(total, limit)
