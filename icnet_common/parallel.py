"""Work in threads, results in order, and never more in flight than there is memory for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import repeat
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


class StageTimer:
    """A piece of work that knows how many seconds each stage took."""

    seconds: dict[str, float]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of what is done inside, if it succeeds."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, in_flight: int
) -> Generator[R, None, None]:
    """``map(function, items)`` with ``function`` running in ``threads`` threads, ``in_flight`` items ahead.

    ``items`` is read by the consumer's thread. An error is raised in its item's turn; then, as when the consumer
    stops early, nothing new is begun and what is running is waited for.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > in_flight:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def prefetch(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """``items``, taken by a thread of their own, ``count`` of them ahead; errors come in their turn."""
    source = iter(items)
    nothing = object()
    with closing(parallel_map(lambda _: next(source, nothing), repeat(None), threads=1, in_flight=count)) as taken:
        for item in taken:
            if item is nothing:
                return
            yield cast("T", item)
