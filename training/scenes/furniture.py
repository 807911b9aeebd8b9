"""Lamp posts, traffic lights, traffic signs and bollards. They stand at (x, z) on ground of the given height."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .canvas import Array, Canvas, Colour, chosen, scaled

STEEL: tuple[Colour, ...] = ((92, 96, 98), (128, 130, 130), (70, 78, 74), (150, 150, 148))
RED: Colour = (196, 28, 34)
BLUE: Colour = (24, 78, 160)
WHITE: Colour = (232, 232, 228)
YELLOW: Colour = (238, 200, 52)
BLACK: Colour = (26, 27, 28)


def lamp(canvas: Canvas, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A lamp post with an arm over the road, or a pole of the tram's wires."""
    canvas.begin("pole")
    colour, height = chosen(rng, STEEL), float(rng.uniform(5.5, 8.5))
    canvas.limb((x, ground, z), (x, height, z), 0.17, colour)
    reach = -math.copysign(1.6, x)
    canvas.limb((x, height, z), (x + reach, height + 0.25, z), 0.1, colour)
    canvas.limb((x + 0.6 * reach, height + 0.15, z), (x + reach, height + 0.25, z), 0.2, (200, 200, 190))


def bollard(canvas: Canvas, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A post that keeps cars off the pavement."""
    canvas.begin("pole")
    canvas.limb((x, ground, z), (x, ground + 0.95, z), 0.16, chosen(rng, STEEL))
    canvas.limb((x, ground + 0.75, z), (x, ground + 0.8, z), 0.16, WHITE, marked=False)


def traffic_light(canvas: Canvas, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A post with a light, and perhaps an arm with a second one over the road."""
    canvas.begin("pole")
    colour = chosen(rng, STEEL)
    lit = int(rng.integers(3))
    arm = rng.random() < 0.5
    height = 5.6 if arm else 3.5
    canvas.limb((x, ground, z), (x, height, z), 0.16, colour)
    over = x - math.copysign(3.4, x)
    if arm:
        canvas.limb((x, height, z), (over, height, z), 0.13, colour)
    canvas.begin("traffic light")
    _light(canvas, x, 3.0, z - 0.15, lit)
    if arm:
        _light(canvas, over, height - 0.1, z - 0.15, lit)


def _light(canvas: Canvas, x: float, middle: float, z: float, lit: int) -> None:
    canvas.polygons(_box(x, middle, z, 0.24, 0.6), (40, 42, 42))
    canvas.polygons(_box(x, middle, z, 0.19, 0.55), BLACK, marked=False)
    lamps: tuple[Colour, ...] = ((250, 44, 36), (252, 190, 40), (40, 235, 130))
    for number, colour in enumerate(lamps):
        dim = colour if number == lit else scaled(colour, 0.18)
        canvas.balls([(x, middle + 0.36 * (1 - number), z)], [0.15], [dim], marked=False)


def sign(canvas: Canvas, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A post with one or two signs: prohibition, warning, order, right of way, parking, or direction."""
    canvas.begin("pole")
    height = float(rng.uniform(2.5, 3.1))
    canvas.limb((x, ground, z), (x, height + 0.3, z), 0.1, chosen(rng, STEEL))
    canvas.begin("traffic sign")
    kind = int(rng.integers(6))
    _board(canvas, kind, x, height, z - 0.08)
    if rng.random() < 0.4 and kind < 5:
        _board(canvas, int(rng.integers(5)), x, height - 0.85, z - 0.08)


def _board(canvas: Canvas, kind: int, x: float, y: float, z: float) -> None:
    for number, (shape, lift, *size, colour) in enumerate(BOARDS[kind]):
        canvas.polygons(shape(x, y + lift, z, *size), colour, marked=number == 0)


def _box(x: float, y: float, z: float, half_width: float, half_height: float) -> list[tuple[float, float, float]]:
    return [(x + dx * half_width, y + dy * half_height, z) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def _regular(x: float, y: float, z: float, radius: float, corners: int) -> Array:
    """A regular polygon that faces the camera, one corner up."""
    angles = [2 * math.pi * number / corners for number in range(corners)]
    return np.array([(x + radius * math.sin(a), y + radius * math.cos(a), z) for a in angles])


def _arrow(x: float, y: float, z: float, half_width: float, height: float) -> list[tuple[float, float, float]]:
    return [(x - half_width, y, z), (x, y + height, z), (x + half_width, y, z)]


def _bars(x: float, y: float, z: float, half_width: float, half_height: float) -> list[Any]:
    return [_box(x, y + dy, z, half_width, half_height) for dy in (-0.22, 0.0, 0.22)]


BOARDS: tuple[tuple[tuple[Any, ...], ...], ...] = (
    ((_regular, 0.0, 0.42, 20, RED), (_regular, 0.0, 0.3, 20, WHITE), (_box, 0.0, 0.13, 0.12, BLACK)),
    ((_regular, -0.08, 0.52, 3, RED), (_regular, -0.08, 0.33, 3, WHITE), (_box, -0.08, 0.04, 0.13, BLACK)),
    ((_regular, 0.0, 0.42, 20, BLUE), (_arrow, 0.0, 0.2, 0.25, WHITE), (_box, -0.12, 0.06, 0.14, WHITE)),
    ((_regular, 0.0, 0.48, 4, WHITE), (_regular, 0.0, 0.36, 4, YELLOW)),
    ((_box, 0.0, 0.36, 0.36, BLUE), (_box, 0.0, 0.1, 0.24, WHITE)),
    ((_box, 0.2, 0.95, 0.5, YELLOW), (_bars, 0.2, 0.75, 0.07, BLACK)),
)
"""The signs: prohibition, warning, order, right of way, parking, direction; of each its shapes, painted one over the
other: the outline, metres above the sign's middle, its size, and its colour."""
