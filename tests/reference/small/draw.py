"""Random choices of which small, legal layers are made, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[Any]
T = TypeVar("T")


@dataclass
class Small:
    """A layer: its own parameter block as text, its bottoms, and how many tops it has."""

    params: str
    bottoms: list[Array]
    tops: int = 1


@dataclass
class Draw:
    """Random choices; sizes and parameters by hypothesis, values by a generator that it seeds."""

    data: st.DataObject
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.data.draw(st.integers(0, 2**16), label="seed"))

    def between(self, least: int, most: int) -> int:
        return self.data.draw(st.integers(least, most))

    def of(self, *choices: T) -> T:
        return self.data.draw(st.sampled_from(choices))

    def maybe(self, text: str) -> str:
        return f"{text} " if self.data.draw(st.booleans()) else ""

    def normal(self, *shape: int) -> Array:
        return self.random.standard_normal(shape)

    def image(self, channels: int | None = None, least: int = 1) -> Array:
        shape = (self.between(1, 2), channels or self.between(1, 5), self.between(least, 8), self.between(least, 8))
        return self.normal(*shape)

    def any_rank(self, least: int = 1, most: int = 5) -> Array:
        return self.normal(*(self.between(1, 4) for _ in range(self.between(least, most))))

    def axis(self, x: Array, least: int = 0) -> int:
        axis = self.between(least, x.ndim - 1)
        return axis - x.ndim if self.data.draw(st.booleans()) else axis

    def labels(self, classes: int, *shape: int) -> Array:
        return self.random.integers(0, classes, shape).astype(np.float64)


LAYERS: dict[str, Callable[[Draw], Small]] = {}


def layer(*types: str) -> Callable[[Callable[[Draw], Small]], Callable[[Draw], Small]]:
    def decorate(function: Callable[[Draw], Small]) -> Callable[[Draw], Small]:
        LAYERS.update(dict.fromkeys(types, function))
        return function

    return decorate
