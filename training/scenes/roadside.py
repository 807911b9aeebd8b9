"""What stands beside the street: houses, walls, fences, trees, hedges, lamps, lights, signs and bollards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .canvas import Array, Canvas, Colour, Vector, chosen, scaled, varied
from .solid import Pose, Prism, rectangle

PLASTER: tuple[Colour, ...] = (
    (196, 184, 160), (176, 168, 158), (204, 190, 140), (164, 122, 98), (150, 84, 66), (214, 208, 198), (140, 140, 142),
    (186, 150, 120), (168, 178, 176),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((132, 66, 50), (84, 80, 80), (104, 74, 60))
PANES: tuple[Colour, ...] = ((52, 60, 70), (74, 86, 98), (104, 118, 130), (36, 40, 46))
STONE: tuple[Colour, ...] = ((150, 146, 138), (128, 122, 116), (146, 96, 78), (170, 160, 142))
LEAVES: tuple[Colour, ...] = ((64, 92, 40), (82, 104, 44), (54, 82, 46), (98, 112, 52))
STEEL: tuple[Colour, ...] = ((92, 96, 98), (128, 130, 130), (70, 78, 74), (150, 150, 148))
RED: Colour = (196, 28, 34)
BLUE: Colour = (24, 78, 160)
WHITE: Colour = (232, 232, 228)
YELLOW: Colour = (238, 200, 52)
BLACK: Colour = (26, 27, 28)

FLOOR = 3.2
"""Height of a storey, metres."""


def house(
    canvas: Canvas, rng: np.random.Generator, x0: float, x1: float, near: float, far: float, height: float, side: int
) -> None:
    """A house from x0 to x1 and from near to far; ``side`` is where it stands: -1 left, 1 right, 0 across the view."""
    canvas.begin("building")
    colour, roof = varied(rng, PLASTER), varied(rng, ROOFS)
    half, depth = (x1 - x0) / 2, far - near
    frame = Pose((x0 + x1) / 2, near)
    body = Prism(canvas, frame, rectangle(0.0, 0.0, depth, height), lambda _: half)
    body.draw(colour)
    if rng.random() < 0.55:
        ridge = height + min(half, 5.0) * float(rng.uniform(0.5, 0.9))
        over = Prism(
            canvas,
            frame,
            rectangle(-0.3, height, depth, ridge),
            lambda y: (half + 0.3) * (1 - 0.97 * (y - height) / (ridge - height)),
        )
        over.draw(roof)
        over.strip(0, (-0.9, 0.9), (0.0, 0.9), colour)
    else:
        body.side(rectangle(0.0, height - 0.45, depth, height), scaled(colour, 1.12))
        body.strip(0, (-1, 1), (1 - 0.45 / height, 1), scaled(colour, 1.12))
    if near > 110:
        return
    _windows(rng, body, colour, depth, height)
    if side and near < 70:
        _shop(rng, body, depth)


def _windows(rng: np.random.Generator, body: Prism, colour: Colour, depth: float, height: float) -> None:
    spacing, width, tall = (float(rng.uniform(*limits)) for limits in ((2.1, 3.0), (0.9, 1.4), (1.4, 1.9)))
    sills = np.arange(FLOOR + 0.9, height - tall - 0.4, FLOOR)
    columns = np.arange(0.8, depth - width - 0.5, spacing)
    panes = [(z, y, z + width, y + tall) for y in sills.tolist() for z in columns.tolist()]
    body.side_many([(z0 - 0.12, y0 - 0.15, z1 + 0.12, y1 + 0.12) for z0, y0, z1, y1 in panes], scaled(colour, 1.2))
    kinds = rng.integers(len(PANES), size=len(panes))
    for number, pane in enumerate(PANES):
        body.side_many([limits for limits, kind in zip(panes, kinds.tolist(), strict=True) if kind == number], pane)
    body.side_many([(z0 + width / 2 - 0.04, y0, z0 + width / 2 + 0.04, y1) for z0, y0, _, y1 in panes], (210, 208, 204))

    across = np.arange(-0.85, 0.75, 2 * spacing / (2 * body.half_width(0.0))).tolist()
    share = width / body.half_width(0.0)
    for y in sills.tolist():
        for s in across:
            body.strip(0, (s, s + share), (y / height, (y + tall) / height), PANES[int(rng.integers(len(PANES)))])


def _shop(rng: np.random.Generator, body: Prism, depth: float) -> None:
    """A ground floor with a door and shop windows, perhaps under an awning."""
    body.side(rectangle(0.0, 0.0, depth, 0.5), (112, 106, 100))
    starts = np.arange(0.6, depth - 2.6, 3.1).tolist()
    body.side_many([(z, 0.7, z + 2.3, 2.7) for z in starts], (58, 64, 70))
    body.side_many([(z + 0.2, 1.2, z + 1.0, 2.4) for z in starts], (150, 142, 118))
    if starts:
        door = starts[int(rng.integers(len(starts)))]
        body.side(rectangle(door + 0.4, 0.1, door + 1.5, 2.4), varied(rng, ((92, 62, 42), (50, 70, 60), (110, 40, 40))))
    if rng.random() < 0.5:
        body.side(rectangle(0.3, 2.75, depth - 0.3, 3.3), varied(rng, ((160, 40, 44), (40, 70, 120), (200, 180, 70))))


def wall(canvas: Canvas, rng: np.random.Generator, x: float, near: float, far: float) -> None:
    """A wall of stones or concrete along the street, with joints and a cap."""
    canvas.begin("wall")
    height, colour = float(rng.uniform(1.5, 2.8)), varied(rng, STONE)
    body = Prism(canvas, Pose(x, near), rectangle(0.0, 0.0, far - near, height), lambda _: 0.15)
    body.draw(colour)
    joint = scaled(colour, 0.78)
    course = 0.35 if rng.random() < 0.6 else 0.9
    rows = np.arange(course, height - 0.1, course).tolist()
    body.side_many([(0.0, y, far - near, y + 0.03) for y in rows], joint)
    length = 2.2 * course
    bricks = [
        (z + 0.5 * length * (row % 2), y - course, z + 0.5 * length * (row % 2) + 0.03, y)
        for row, y in enumerate(rows)
        for z in np.arange(0.0, min(far - near, 40.0) - length, length).tolist()
    ]
    body.side_many(bricks, joint)
    body.side(rectangle(0.0, height - 0.14, far - near, height), scaled(colour, 1.15))


def fence(canvas: Canvas, rng: np.random.Generator, x: float, near: float, far: float, ground: float) -> None:
    """A fence along the street: iron bars, planks or wire mesh; what lies behind shows through."""
    canvas.begin("fence")
    kind, height = int(rng.integers(3)), float(rng.uniform(1.2, 2.1))
    top = ground + height
    face = [(x, ground, near), (x, top, near), (x, top, far), (x, ground, far)]
    canvas.mark(face)
    colour = varied(
        rng, ((44, 48, 46), (128, 94, 64), (150, 152, 150)) if kind == 0 else ((128, 94, 64), (158, 150, 138))
    )
    if kind == 2:
        colour = (120, 126, 122)
        canvas.shadow(face, 0.3)
    spacing, width = ((0.22, 0.05), (0.17, 0.13), (0.4, 0.025))[kind]
    bars = np.arange(near, far, spacing)
    canvas.polygons(_bars(x, bars, width, ground, top), colour, shade=1.0)
    posts = np.arange(near, far, 2.4)
    canvas.polygons(_bars(x, posts, 0.12, ground, top + 0.08), scaled(colour, 0.8))
    for y in np.arange(ground + 0.2, top + 0.01, 0.35 if kind == 2 else height - 0.3).tolist():
        canvas.polygons([(x, y, near), (x, y + 0.07, near), (x, y + 0.07, far), (x, y, far)], colour)


def tree(canvas: Canvas, rng: np.random.Generator, x: float, z: float, ground: float) -> None:
    """A trunk with branches and a crown."""
    height, spread = float(rng.uniform(5.5, 9.5)), float(rng.uniform(1.7, 2.8))
    canvas.begin("vegetation")
    fork = 0.4 * height
    canvas.limb((x, ground, z), (x, fork + 0.5, z), float(rng.uniform(0.25, 0.45)), (74, 60, 48))
    for side in (-1, 1):
        canvas.limb((x, fork, z), (x + side * 0.6 * spread, fork + 1.2, z), 0.14, (74, 60, 48))
    foliage(canvas, rng, (x, 0.66 * height, z), (spread, 0.34 * height, spread), leaves=170)


def hedge(canvas: Canvas, rng: np.random.Generator, x: float, near: float, far: float, ground: float) -> None:
    """A row of bushes along the street."""
    canvas.begin("vegetation")
    height = float(rng.uniform(0.5, 1.3))
    for z in np.arange(far, near, -1.4).tolist():
        foliage(canvas, rng, (x, ground + 0.6 * height, z), (0.9, 0.6 * height, 0.8), leaves=24)


def foliage(canvas: Canvas, rng: np.random.Generator, centre: Vector, radii: Vector, leaves: int) -> None:
    """A cloud of leaves in an ellipsoid, brighter towards the sun; far away they are fewer and larger."""
    share = min(1.0, 25 / max(1.0, centre[2]))
    leaves = max(12, round(leaves * share))
    base = varied(rng, LEAVES)
    clumps = _in_ball(rng, 16)
    size = 0.42 * min(radii[0], radii[1])
    place = np.array(centre)
    canvas.balls(place + clumps * radii * 0.8, np.full(16, size), [scaled(base, 0.55)])
    spots = _in_ball(rng, leaves)
    bright = 0.85 + 0.4 * (spots @ np.array(canvas.light.sun)) + rng.uniform(-0.18, 0.18, leaves)
    order = np.argsort(bright, kind="stable")
    colours = [scaled(base, value) for value in bright[order].tolist()]
    sizes = rng.uniform(0.16, 0.34, leaves) * size / math.sqrt(max(share, 0.2))
    canvas.balls(place + spots[order] * radii, sizes, colours)


def _bars(x: float, starts: npt.NDArray[np.float64], width: float, low: float, high: float) -> npt.NDArray[np.float64]:
    """Upright bars in the plane of y and z at x: (bars, 4, 3)."""
    bars = np.empty((len(starts), 4, 3))
    bars[..., 0] = x
    bars[..., 1] = (low, high, high, low)
    bars[..., 2] = starts[:, None] + np.array([0.0, 0.0, width, width])
    return bars


def _in_ball(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Points in the unit ball, denser towards its middle."""
    points = rng.uniform(-1, 1, (count, 3))
    inside: npt.NDArray[np.float64] = points / np.maximum(
        1.0, np.sqrt((points**2).sum(1, keepdims=True)) / rng.uniform(0.6, 1.0, (count, 1))
    )
    return inside


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


def _stripes(x: float, y: float, z: float, half_width: float, half_height: float) -> list[Any]:
    return [_box(x, y + dy, z, half_width, half_height) for dy in (-0.22, 0.0, 0.22)]


BOARDS: tuple[tuple[tuple[Any, ...], ...], ...] = (
    ((_regular, 0.0, 0.42, 20, RED), (_regular, 0.0, 0.3, 20, WHITE), (_box, 0.0, 0.13, 0.12, BLACK)),
    ((_regular, -0.08, 0.52, 3, RED), (_regular, -0.08, 0.33, 3, WHITE), (_box, -0.08, 0.04, 0.13, BLACK)),
    ((_regular, 0.0, 0.42, 20, BLUE), (_arrow, 0.0, 0.2, 0.25, WHITE), (_box, -0.12, 0.06, 0.14, WHITE)),
    ((_regular, 0.0, 0.48, 4, WHITE), (_regular, 0.0, 0.36, 4, YELLOW)),
    ((_box, 0.0, 0.36, 0.36, BLUE), (_box, 0.0, 0.1, 0.24, WHITE)),
    ((_box, 0.2, 0.95, 0.5, YELLOW), (_stripes, 0.2, 0.75, 0.07, BLACK)),
)
"""The signs: prohibition, warning, order, right of way, parking, direction; of each its shapes, painted one over the
other: the outline, metres above the sign's middle, its size, and its colour."""
