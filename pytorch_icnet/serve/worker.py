"""One network for many requests: a bounded queue, and a thread that takes what waits in batches."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from ..pipeline import Pipeline, Threads
from .work import Answer


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
            self._do([job for job in jobs if job.answer.set_running_or_notify_cancel()])

    def _do(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        self._seen(len(jobs))
        passing = [(job, self._pipeline.submit(job.task)) for job in jobs]
        for job, done in passing:
            done.add_done_callback(job.settle)
        wait([done for _, done in passing])
