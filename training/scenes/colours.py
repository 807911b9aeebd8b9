"""Colours, and choosing among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Colour = tuple[float, float, float]
"""Red, green, blue; 0 to 255."""


def chosen(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return colours[int(rng.integers(len(colours)))]


def varied(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, up to 15 % darker or brighter."""
    return scaled(chosen(rng, colours), float(rng.uniform(0.85, 1.15)))


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or brighter."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
