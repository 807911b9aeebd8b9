"""Work in threads, results in order, and never more in flight than there is memory for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(
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


def ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """``items``, taken by a thread of their own, ``count`` of them ahead; errors come in their turn."""
    source = iter(items)
    nothing = object()
    with closing(ordered_map(lambda _: next(source, nothing), repeat(None), threads=1, in_flight=count)) as taken:
        for item in taken:
            if item is nothing:
                return
            yield cast("T", item)
