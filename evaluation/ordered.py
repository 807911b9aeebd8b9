"""Work in threads, results in order, and never more in flight than there is memory for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
