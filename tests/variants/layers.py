"""What each call of each module of a network gave, as the goldens' ``layers_*.json`` hold it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from . import goldens


class Row(NamedTuple):
    """A call of a module."""

    name: str
    call: int
    """From 0."""
    shape: tuple[int, ...]
    numbers: tuple[float, ...]
    """Mean, standard deviation, least, largest; then the values at 0, n/3, 2n/3, n-1 of the flat output."""

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.call

    def distance(self, other: Row) -> float:
        """The largest difference of a number, over the spread; infinite where shapes differ."""
        if self.shape != other.shape:
            return math.inf
        return max(abs(a - b) for a, b in zip(self.numbers, other.numbers, strict=True)) / other.numbers[1]


class Trace:
    """Rows in the order in which modules returned."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def note(self, name: str, output: object) -> None:
        """An output; of several each, by its place."""
        if isinstance(output, (tuple, list)):
            for place, each in enumerate(output):
                self.note(f"{name}[{place}]", each)
        elif isinstance(output, torch.Tensor):
            values = output.detach().double().flatten()
            n = len(values)
            places = [values[place] for place in (0, n // 3, 2 * n // 3, n - 1)]
            numbers = (values.mean(), values.std(correction=0), values.min(), values.max(), *places)
            self._add(name, tuple(output.shape), tuple(number.item() for number in numbers))

    def _add(self, name: str, shape: tuple[int, ...], numbers: tuple[float, ...]) -> None:
        self.rows.append(Row(name, sum(row.name == name for row in self.rows), shape, numbers))

    @classmethod
    def published(cls, folder: str, file: str) -> Trace:
        trace = cls()
        for name, shape, *spread, values in goldens.data(folder, file):
            trace._add(name, tuple(shape), (*spread, *values))
        return trace

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Note all calls of the model's modules."""

        def noting(name: str) -> Callable[[nn.Module, object, object], None]:
            return lambda module, inputs, output: self.note(name, output)

        handles = [module.register_forward_hook(noting(name)) for name, module in model.named_modules() if name]
        try:
            with torch.inference_mode():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def renamed(self, names: dict[str, str]) -> Trace:
        """Other names for some rows."""
        other = Trace()
        for row in self.rows:
            other._add(names.get(row.name, row.name), row.shape, row.numbers)
        return other


def missing(ours: Trace, theirs: Trace) -> list[str]:
    """The published rows that ours has not."""
    known = {row.key for row in ours.rows}
    return [row.name for row in theirs.rows if row.key not in known]


def in_other_order(ours: Trace, theirs: Trace) -> list[str]:
    """The parts of the network (first words of names) whose modules are called in another order; of rows of both."""
    mine, known = {row.key for row in ours.rows}, {row.key for row in theirs.rows}
    parts = dict.fromkeys(_part(row.name) for row in theirs.rows)
    return [
        part
        for part in parts
        if [row.key for row in ours.rows if _part(row.name) == part and row.key in known]
        != [row.key for row in theirs.rows if _part(row.name) == part and row.key in mine]
    ]


def _part(name: str) -> str:
    return name.split(".")[0].split("[")[0]


def diverging(ours: Trace, theirs: Trace, limit: float) -> str | None:
    """The first published row, of those that both have, from which ours is further than ``limit``; None: none."""
    mine = {row.key: row for row in ours.rows}
    far = (row.name for row in theirs.rows if row.key in mine and mine[row.key].distance(row) > limit)
    return next(far, None)
