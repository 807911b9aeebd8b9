"""The sky, the road with its marks, the pavements, and what closes the view far away."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Colour, chosen, flat, scaled, smooth_noise
from .roadside import foliage, house

KERB = 0.13
"""Height of the pavements above the road, metres."""
FAR = 190.0
"""Where the street ends, metres."""
BESIDE = 90.0
"""How far the ground reaches to each side, metres."""

PAINT: Colour = (222, 222, 216)
ASPHALT: Colour = (92, 92, 95)
PAVING: Colour = (158, 152, 146)
GRASS: tuple[Colour, ...] = ((124, 148, 70), (142, 150, 84), (110, 138, 66), (150, 136, 92))


@dataclass(frozen=True)
class Lane:
    """A lane of the road; ``heading`` is 1 for traffic in the camera's direction, -1 for oncoming traffic."""

    x: float
    heading: int


@dataclass(frozen=True)
class Street:
    """The plan of a street, in metres; the camera is in the middle of the lane at x = 0.

    Attributes:
        left, right: edges of the road.
        fronts: x of the fronts of the houses, left and right.
        lanes: from left to right, without the parking strips.
        parking: whether cars are parked at the left and at the right edge.
        junction: (near, far) of a road that crosses, if any.
        crossing: z of a zebra crossing, if any.
    """

    left: float
    right: float
    fronts: tuple[float, float]
    lanes: tuple[Lane, ...]
    lane_width: float
    parking: tuple[bool, bool]
    junction: tuple[float, float] | None
    crossing: float | None

    def stretches(self, near: float = 0.8, far: float = FAR) -> list[tuple[float, float]]:
        """The parts of near..far outside the junction."""
        gap = self.junction
        if gap is None or far <= gap[0] or near >= gap[1]:
            return [(near, far)]
        return [(a, b) for a, b in ((near, gap[0]), (gap[1], far)) if b > a]


def plan(rng: np.random.Generator) -> Street:
    """Draw a street at random."""
    width = float(rng.uniform(3.1, 3.6))
    own, oncoming = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    first = -int(rng.integers(own))
    lanes = [Lane((first - 1 - number) * width, -1) for number in reversed(range(oncoming))]
    lanes += [Lane((first + number) * width, 1) for number in range(own)]
    parking = (bool(rng.random() < 0.4), bool(rng.random() < 0.4))
    left = lanes[0].x - width / 2 - 2.3 * parking[0]
    right = lanes[-1].x + width / 2 + 2.3 * parking[1]
    pavements = rng.uniform(2.4, 5.0, 2).tolist()
    near = float(rng.uniform(16, 50))
    junction = (near, near + float(rng.uniform(9, 14))) if rng.random() < 0.5 else None
    crossing = near - 4.5 if rng.random() < 0.55 else None
    return Street(
        left, right, (left - pavements[0], right + pavements[1]), tuple(lanes), width, parking, junction, crossing
    )


def sky(canvas: Canvas, rng: np.random.Generator, overcast: float) -> None:
    """Clouds before a gradient from the zenith to the haze at the horizon; ``overcast`` from 0 (blue) to 1 (grey)."""
    canvas.begin("sky")
    height, width = round(canvas.camera.horizon), canvas.objects.shape[1]
    zenith = np.array([96, 146, 208]) * (1 - overcast) + np.array([196, 200, 205]) * overcast
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None] ** 2
    rows = zenith.astype(np.float32) * (1 - share) + np.array(canvas.light.haze, np.float32) * share
    clouds = smooth_noise(rng, (height, width), (16, 16)) // 2 + smooth_noise(rng, (height, width), (64, 32)) // 2
    cover = np.clip((clouds.astype(np.float32) - np.float32(150 - 60 * overcast)) / 90, 0, 1)[..., None] * (
        1 - share[..., None]
    )
    white = np.array([238, 240, 243], np.float32) * np.float32(1 - 0.18 * overcast)
    canvas.rgb[:height] = (rows[:, None, :] + (white - rows)[:, None, :] * cover).astype(np.uint8)
    canvas.objects[:] = len(canvas.classes) - 1


def horizon(canvas: Canvas, rng: np.random.Generator) -> None:
    """Houses and trees across the end of the street."""
    for x in np.arange(-BESIDE, BESIDE, 16.0).tolist():
        if rng.random() < 0.5:
            house(canvas, rng, x, x + 17.0, FAR - 4, FAR + 8, float(rng.uniform(9, 24)), 0)
    canvas.begin("vegetation")
    for x in np.arange(-BESIDE, BESIDE, 7.0).tolist():
        if rng.random() < 0.75:
            foliage(canvas, rng, (x, float(rng.uniform(2, 7)), FAR - 8), (5.0, 4.5, 2.0), leaves=30)


def ground(canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
    """Pavements, road, kerbs, marks."""
    grey = float(rng.uniform(0.85, 1.15))
    paving = scaled(PAVING, float(rng.uniform(0.85, 1.12)))
    canvas.begin("sidewalk")
    canvas.polygons(flat(-BESIDE, BESIDE, 0.8, FAR, KERB), paving)
    _slabs(canvas, street, paving)
    canvas.begin("road")
    canvas.polygons(flat(street.left, street.right, 0.8, FAR), scaled(ASPHALT, grey))
    if street.junction:
        canvas.polygons(flat(-BESIDE, BESIDE, *street.junction), scaled(ASPHALT, grey))
    _patches(canvas, rng, street, grey)
    _marks(canvas, street)
    canvas.begin("sidewalk")
    for x, sign in ((street.left, -1), (street.right, 1)):
        for near, far in street.stretches():
            canvas.polygons([(x, 0, near), (x, KERB, near), (x, KERB, far), (x, 0, far)], (176, 173, 168))
            top = flat(min(x, x + 0.22 * sign), max(x, x + 0.22 * sign), near, far, KERB)
            canvas.polygons(top, (192, 189, 184))


def grass(canvas: Canvas, rng: np.random.Generator, x0: float, x1: float, near: float, far: float) -> None:
    """A lawn beside the road, which rises away from it."""
    canvas.begin("terrain")
    low, high = (x0, x1) if abs(x0) < abs(x1) else (x1, x0)
    foot, brow = KERB + 0.02, KERB + 0.02 + 0.11 * min(12.0, abs(high - low) - 1.0)
    edge = low + math.copysign(min(12.0, abs(high - low)), high)
    slope = [(low, foot, near), (low, foot, far), (edge, brow, far), (edge, brow, near)]
    canvas.polygons(slope, chosen(rng, GRASS))


def rails(canvas: Canvas, x: float) -> None:
    """Tram rails in a lane."""
    for offset in (-0.72, 0.72):
        canvas.polygons(flat(x + offset - 0.05, x + offset + 0.05, 0.8, FAR), (62, 60, 58), marked=False)
        canvas.polygons(flat(x + offset - 0.02, x + offset + 0.02, 0.8, FAR), (150, 148, 146), marked=False)


def _marks(canvas: Canvas, street: Street) -> None:
    for a, b in itertools.pairwise(street.lanes):
        x = (a.x + b.x) / 2
        lines = [(z, z + 3.0) for z in np.arange(1.0, 110.0, 7.0) if street.stretches(z, z + 3) == [(z, z + 3)]]
        if a.heading != b.heading and len(street.lanes) > 2:
            lines = street.stretches()
        stripes = [flat(x - 0.07, x + 0.07, near, far) for near, far in lines]
        canvas.polygons(stripes, PAINT, marked=False)
    for x, parked in ((street.left + 0.25, street.parking[0]), (street.right - 0.25, street.parking[1])):
        edge = x - math.copysign(2.1, x) if parked else x
        stripes = [flat(edge - 0.06, edge + 0.06, near, far) for near, far in street.stretches()]
        canvas.polygons(stripes, PAINT, marked=False)
    if street.crossing:
        bars = np.arange(street.left + 0.4, street.right - 0.6, 1.0)
        canvas.polygons([flat(x, x + 0.5, street.crossing, street.crossing + 3.0) for x in bars], PAINT, marked=False)
        own = [lane.x for lane in street.lanes if lane.heading == 1]
        left, right = min(own) - street.lane_width / 2, max(own) + street.lane_width / 2
        stop = flat(left, right, street.crossing - 1.4, street.crossing - 1.0)
        canvas.polygons(stop, PAINT, marked=False)


def _patches(canvas: Canvas, rng: np.random.Generator, street: Street, grey: float) -> None:
    for lane in street.lanes:
        for offset in (-0.75, 0.75):
            x = lane.x + offset
            canvas.polygons(flat(x - 0.25, x + 0.25, 0.8, FAR), scaled((86, 86, 88), grey), marked=False)
    for _ in range(int(rng.integers(2, 6))):
        x, z = float(rng.uniform(street.left, street.right - 2)), float(rng.uniform(5, 60))
        patch = flat(x, x + float(rng.uniform(0.6, 2.0)), z, z + float(rng.uniform(1, 7)))
        canvas.polygons(patch, scaled((80, 80, 82), grey * float(rng.uniform(0.9, 1.15))), marked=False)
    for _ in range(3):
        x, z = float(rng.uniform(street.left + 1, street.right - 1)), float(rng.uniform(5, 40))
        canvas.polygons(flat(x - 0.3, x + 0.3, z - 0.3, z + 0.3), (66, 63, 60), marked=False)


def _slabs(canvas: Canvas, street: Street, paving: Colour) -> None:
    lines = []
    for low, high in ((street.fronts[0], street.left), (street.right, street.fronts[1])):
        lines += [flat(low, high, z, z + 0.04, KERB) for z in np.arange(3.0, 36.0, 1.0)]
        lines += [flat(x, x + 0.03, 0.8, 60.0, KERB) for x in np.arange(low, high, 1.0)]
    canvas.polygons(lines, scaled(paving, 0.82), marked=False)
