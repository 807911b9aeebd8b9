"""One pipeline for evaluation, prediction and the service: images pass its stages one after the other.

The stages of different images overlap: while the network runs, the images after it are read and prepared, and those
before it are finished and written. A bounded number of images is on its way at any time.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from operator import methodcaller
from typing import Generic, TypeVar

import torch

from icnet_common.parallel import StageTimer

from .predictor import Predictor

MOST_THREADS = 8
"""Of a stage."""


@dataclass
class ImageTask(StageTimer, ABC):
    """What happens to one image. A stage lets go of what the later ones do not need.

    Attributes:
        seconds: by the name of what was done.
    """

    seconds: dict[str, float] = field(default_factory=dict, init=False)

    @abstractmethod
    def prepare(self) -> None:
        """Read the image and make what the network is fed."""

    @abstractmethod
    def forward(self) -> None:
        """Run the network."""

    @abstractmethod
    def finish(self) -> None:
        """Make the label map, and what is made of it."""


Task = TypeVar("Task", bound=ImageTask)


@dataclass(frozen=True)
class Threads:
    """How many images each stage works on at once.

    Attributes:
        prepare, forward, finish: the stages of an :class:`ImageTask`, in their order.
    """

    prepare: int
    forward: int
    finish: int

    @classmethod
    def of(cls, predictor: Predictor, processes: int = 1, workers: int | None = None) -> Threads:
        """A good choice for this machine.

        A repeatable predictor whose network PyTorch runs on the processor takes one thread for each image, and several
        images beside each other: the sums of its convolutions, and with them the last bits of the scores, depend on the
        number of threads, but the results must not. Otherwise an image takes all threads. Beside a GPU the processor's
        work is the slower part.

        Args:
            predictor: what runs.
            processes: that share this machine.
            workers: images in the network at once, on the processor; None: one per core, at most
                :data:`MOST_THREADS`, where each takes one thread.
        """
        own = min(cores(processes), MOST_THREADS)
        if predictor.device.type != "cpu":
            return cls(own, 1, own)
        single = predictor.repeatable and predictor.engine(predictor.input_size).backend == "eager"
        return cls(1 if single else max(1, own // 2), workers or (own if single else 1), max(1, own // 2))

    @property
    def in_flight(self) -> int:
        """Images on their way at once, those included that wait between two stages."""
        return self.prepare + self.forward + self.finish + 1


class Pipeline(Generic[Task]):
    """Threads that work on the stages of images; to be closed.

    Args:
        threads: of each stage.
    """

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self._stages = [(methodcaller(name), ThreadPoolExecutor(count)) for name, count in asdict(threads).items()]
        self._stopped = False
        self._failed: float = math.inf
        """The place of the first task of :meth:`map` that failed."""

    def submit(self, task: Task, place: int = 0) -> Future[Task]:
        """Let a task pass all stages. A future that is cancelled before its turn costs nothing.

        Args:
            task: what is done.
            place: among the tasks of :meth:`map`, from 1; 0 for one that depends on no other.
        """
        done: Future[Task] = Future()
        self._stages[0][1].submit(self._run, task, place, 0, done)
        return done

    def map(self, tasks: Iterable[Task]) -> Generator[Task, None, None]:
        """Tasks in their order, each once all of its stages are done; an error is raised in its task's turn.

        ``tasks`` is read by the caller's thread. Behind a task that failed no stage is begun any more. When the
        generator ends, is closed or fails, what is running is waited for, and the pipeline is closed.
        """
        waiting: deque[Future[Task]] = deque()
        finished = False
        try:
            for place, task in enumerate(tasks, start=1):
                waiting.append(self.submit(task, place))
                if len(waiting) >= self.threads.in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            finished = True
        finally:
            self.close(finish=finished)

    def close(self, *, finish: bool = True) -> None:
        """End the threads, once what was submitted is done; without ``finish``, once what is running is."""
        self._stopped = not finish
        for _, pool in self._stages:
            pool.shutdown()

    def _run(self, task: Task, place: int, number: int, done: Future[Task]) -> None:
        if self._stopped or place > self._failed or (number == 0 and not done.set_running_or_notify_cancel()):
            return
        stage, _ = self._stages[number]
        try:
            stage(task)
        except BaseException as error:
            if place:
                self._failed = min(self._failed, place)
            done.set_exception(error)
            return
        if number + 1 == len(self._stages):
            done.set_result(task)
        else:
            self._stages[number + 1][1].submit(self._run, task, place, number + 1, done)


def cores(processes: int = 1) -> int:
    """Of the processor, for each of the processes that share it."""
    return max(1, (os.cpu_count() or 1) // processes)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch compute each image in one thread, so that no result depends on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
