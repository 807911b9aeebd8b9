"""parallel_map keeps the order, bounds what is in flight, and stops cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from icnet_common.parallel import parallel_map


def test_order_with_uneven_work() -> None:
    def work(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item

    assert list(parallel_map(work, range(30), threads=4, in_flight=6)) == list(range(30))


def test_no_more_in_flight_than_asked() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 20:
            taken += 1
            yield taken

    for consumed, _ in enumerate(parallel_map(lambda item: item, items(), threads=2, in_flight=3), start=1):
        assert taken <= consumed + 3


def test_error_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = parallel_map(work, range(100), threads=4, in_flight=8)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_stopping_early_begins_nothing_new() -> None:
    started: list[int] = []
    release = threading.Event()

    def work(item: int) -> int:
        started.append(item)
        if item > 0:
            release.wait(5)
        return item

    with closing(parallel_map(work, range(100), threads=1, in_flight=5)) as results:
        assert next(results) == 0
        release.set()
    assert len(started) <= 7
    assert threading.active_count() < 20
