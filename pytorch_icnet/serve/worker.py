"""One network for many requests: a bounded queue, and a thread that takes what waits in batches."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol


class Busy(Exception):
    """The queue is full."""


class Work(Protocol):
    """What a request wants. The three steps run in this order; the first and the last of several at the same time."""

    def prepare(self) -> Any:
        """Before the network: decode and resize."""

    def compute(self, prepared: Any) -> Any:
        """Run the network; never two at a time."""

    def finish(self, computed: Any) -> bytes:
        """After the network: the answer's body."""


@dataclass
class _Job:
    work: Work
    answer: Future[bytes] = field(default_factory=Future)


class Worker:
    """Does the work of requests.

    Images are decoded when their turn comes, a batch at a time, so that what waits takes no more memory than it did on
    the way here.

    Args:
        length: so many requests may wait.
        batch: so many are taken from the queue together.
        threads: for the steps before and after the network.
        seen: is given the size of each batch.
    """

    def __init__(
        self, length: int, batch: int = 4, threads: int | None = None, seen: Callable[[int], None] | None = None
    ) -> None:
        self.batch = batch
        self._seen = seen or (lambda _: None)
        self._waiting: queue.Queue[_Job | None] = queue.Queue(length)
        self._closed = False
        self._pool = ThreadPoolExecutor(threads or min(batch, os.cpu_count() or 1), "image")
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

    def submit(self, work: Work) -> Future[bytes]:
        """Let a request wait for its turn. A future that is cancelled before its turn costs nothing.

        Raises:
            Busy: the queue is full, or the worker is closed.
        """
        job = _Job(work)
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
        self._pool.shutdown()
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
        prepared = [(job, self._pool.submit(job.work.prepare)) for job in jobs]
        finishing = []
        for job, ready in prepared:
            try:
                computed = job.work.compute(ready.result())
            except Exception as error:
                job.answer.set_exception(error)
            else:
                finishing.append(self._pool.submit(_finish, job, computed))
        for finished in finishing:
            finished.result()


def _finish(job: _Job, computed: Any) -> None:
    try:
        job.answer.set_result(job.work.finish(computed))
    except Exception as error:
        job.answer.set_exception(error)
