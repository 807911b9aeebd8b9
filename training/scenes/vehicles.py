"""Cars, trucks, buses and trains. Each stands at its frame's origin, the middle of its rear, and heads along z."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Colour, flat, scaled, varied
from .solid import Point, Pose, Prism, rectangle, wheel

GLASS: Colour = (42, 50, 58)
TYRE: Colour = (24, 24, 26)
CHROME: Colour = (150, 152, 155)
PLATE: Colour = (225, 225, 215)
TAIL_LIGHT: Colour = (190, 25, 22)
HEAD_LIGHT: Colour = (240, 240, 220)
DARK = 0.62
"""Brightness of bumpers, sills and joints beside the paint."""

CAR_PAINTS: tuple[Colour, ...] = (
    (28, 29, 32), (60, 63, 68), (120, 123, 128), (178, 180, 183), (222, 223, 222), (150, 28, 30), (32, 52, 110),
    (70, 100, 140), (40, 80, 60), (120, 95, 70),
)  # fmt: skip
TRUCK_PAINTS: tuple[Colour, ...] = ((225, 225, 220), (190, 175, 60), (60, 110, 80), (170, 60, 45), (70, 95, 150))
BUS_PAINTS: tuple[Colour, ...] = ((205, 170, 40), (170, 40, 45), (215, 215, 210), (60, 120, 90))
TRAIN_PAINTS: tuple[Colour, ...] = ((200, 35, 40), (225, 205, 60), (45, 95, 170))


def car(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A hatchback, a saloon, an estate or a van."""
    length = float(rng.uniform(4.0, 4.7))
    half, belt, roof = float(rng.uniform(0.86, 0.93)), float(rng.uniform(0.88, 0.98)), float(rng.uniform(1.42, 1.58))
    kind = int(rng.integers(4))
    if kind == 3:
        roof += 0.35
    tail = (0.04, 0.15 * length, 0.04, 0.04)[kind]
    rake = (0.10, 0.14, 0.05, 0.03)[kind] * length
    nose = (0.74, 0.72, 0.74, 0.86)[kind] * length
    colour = varied(rng, CAR_PAINTS)

    def half_width(y: float) -> float:
        return half * (1 - 0.2 * max(0.0, y - belt) / (roof - belt))

    outline: list[Point] = [
        (0.04, 0.24), (0.0, 0.5), (0.02, belt - 0.06), (tail, belt), (tail + rake, roof),
        (0.6 * nose + 0.1 * length, roof), (nose, belt), (length - 0.1, 0.74), (length, 0.45), (length - 0.04, 0.24),
    ]  # fmt: skip
    _begin(canvas, frame, "car", length, half, (0.2, length - 0.3), 0.32)
    body = Prism(canvas, frame, outline, half_width)
    body.draw(colour)
    body.strip(3, (-0.86, 0.86), (0.12, 0.88), GLASS)
    body.strip(5, (-0.9, 0.9), (0.1, 0.92), GLASS)
    pillar = tail + rake + 0.35 * (nose - tail - rake)
    low, top, front = belt + 0.02, roof - 0.08, 0.6 * nose + 0.09 * length
    body.side(
        ((tail + rake * 0.25 + 0.12, low), (tail + rake + 0.1, top), (pillar - 0.05, top), (pillar - 0.05, low)), GLASS
    )
    body.side(((pillar + 0.05, low), (pillar + 0.05, top), (front, top), (nose - 0.14, low)), GLASS)
    body.side(rectangle(pillar - 0.02, 0.35, pillar + 0.02, belt), scaled(colour, DARK))
    body.strip(0, (-0.97, 0.97), (0.0, 0.9), scaled(colour, DARK))
    body.strip(1, (-0.27, 0.27), (0.1, 0.42), PLATE)
    body.strip(7, (-0.5, 0.5), (0.1, 0.95), TYRE)
    body.strip(8, (-0.9, 0.9), (0.3, 0.9), scaled(colour, DARK))
    body.strip(8, (-0.25, 0.25), (0.1, 0.7), PLATE)
    body.both(1, 0.68, 0.97, (0.45, 0.95), TAIL_LIGHT)
    body.both(7, 0.6, 0.96, (0.1, 0.7), HEAD_LIGHT)
    _wheels(body, (0.19 * length, 0.81 * length), 0.33)


def truck(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A cab with a box, a tarpaulin or a bed of planks."""
    length, height = float(rng.uniform(6.5, 9.5)), float(rng.uniform(3.0, 3.7))
    half, cab = 1.22, 1.9
    box_colour, cab_colour = varied(rng, TRUCK_PAINTS), varied(rng, TRUCK_PAINTS)
    _begin(canvas, frame, "truck", length, half, (0.5, length - 1.2), 0.5)
    chassis = Prism(canvas, frame, rectangle(0.05, 0.5, length - 0.1, 1.0), lambda _: half - 0.1)
    chassis.draw((45, 46, 48))
    chassis.both(0, 0.7, 0.95, (0.3, 0.8), TAIL_LIGHT)
    chassis.strip(0, (-0.25, 0.25), (0.1, 0.6), PLATE)

    front = [(length - cab, 0.5), (length - cab, 2.75), (length - 0.35, 2.75), (length - 0.05, 1.75), (length, 0.5)]
    driver = Prism(canvas, frame, front, lambda _: half - 0.05)
    box = Prism(canvas, frame, rectangle(0.0, 0.95, length - cab - 0.15, height), lambda _: half)
    heading_away = frame.direction((0.0, 0.0, 1.0))[2] > 0
    for part in (driver, box) if heading_away else (box, driver):
        if part is driver:
            driver.draw(cab_colour)
            driver.strip(2, (-0.9, 0.9), (0.1, 0.95), GLASS)
            driver.strip(3, (-0.6, 0.6), (0.3, 0.7), scaled(cab_colour, DARK))
            driver.both(3, 0.65, 0.95, (0.72, 0.88), HEAD_LIGHT)
            driver.side(
                ((length - 1.4, 1.75), (length - 1.4, 2.55), (length - 0.45, 2.55), (length - 0.2, 1.75)), GLASS
            )
            continue
        box.draw(box_colour)
        box.strip(0, (-0.02, 0.02), (0.02, 0.98), scaled(box_colour, DARK))
        for edge in np.arange(0.0, length - cab - 0.2, 1.2).tolist():
            box.side(rectangle(edge, 1.0, edge + 0.07, height - 0.05), scaled(box_colour, DARK))
        box.both(0, 0.74, 0.8, (0.03, 0.97), CHROME)
        box.strip(0, (-1, 1), (0.0, 0.05), (190, 60, 50))
    _wheels(chassis, (1.2, 2.4, length - 1.2), 0.5)


def bus(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A city bus: doors, a row of large windows, a lit sign with its destination."""
    length, height, half = float(rng.uniform(10.5, 12.5)), 3.05, 1.25
    colour = varied(rng, BUS_PAINTS)
    _begin(canvas, frame, "bus", length, half, (0.5, length - 0.8), 0.48)
    body = Prism(canvas, frame, [(0.0, 0.3), (0.12, height), (length - 0.15, height), (length, 0.3)], lambda _: half)
    body.draw(colour)
    body.strip(0, (-0.85, 0.85), (0.5, 0.82), GLASS)
    body.strip(0, (-0.5, 0.5), (0.86, 0.97), (35, 35, 35))
    body.strip(0, (-0.35, 0.35), (0.88, 0.95), (245, 165, 50))
    body.strip(2, (-0.92, 0.92), (0.18, 0.66), GLASS)
    body.strip(2, (-0.75, 0.75), (0.02, 0.14), (35, 35, 35))
    body.strip(2, (-0.55, 0.55), (0.04, 0.12), (245, 165, 50))
    body.both(0, 0.75, 0.93, (0.18, 0.36), TAIL_LIGHT)
    body.both(2, 0.65, 0.9, (0.78, 0.87), HEAD_LIGHT)
    body.strip(0, (-0.22, 0.22), (0.1, 0.18), PLATE)
    body.side(rectangle(0.0, 0.3, length, 0.62), scaled(colour, DARK))
    starts = np.arange(0.35, length - 1.5, 1.55).tolist()
    body.side_many([(z, 1.3, z + 1.4, 2.65) for z in starts], GLASS)
    for door in (0.3 * length, 0.62 * length, length - 1.4):
        body.side(rectangle(door, 0.4, door + 1.15, 2.65), (62, 66, 70))
        body.side(rectangle(door + 0.55, 0.45, door + 0.62, 2.6), (20, 20, 22))
    _wheels(body, (0.24 * length, 0.8 * length), 0.48)


def train(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A tram of two or three cars: white above a band of paint, one long row of windows, a pantograph."""
    cars, length, height, half = int(rng.integers(2, 4)), 8.5, 3.5, 1.2
    colour = varied(rng, TRAIN_PAINTS)
    _begin(canvas, frame, "train", cars * length, half)
    towards_camera = frame.direction((0.0, 0.0, 1.0))[2] < 0
    for number in range(cars) if towards_camera else reversed(range(cars)):
        x, _, z = frame.world((0.0, 0.0, number * length)).tolist()
        ends = (number == 0, number == cars - 1)
        _train_car(canvas, Pose(x, z, frame.yaw), colour, length - 0.3, height, half, ends)
        if number == cars // 2:
            foot, knee, top = (
                frame.world((0.0, y, number * length + dz)).tolist() for y, dz in ((3.5, 3.0), (4.4, 4.2), (5.2, 3.2))
            )
            canvas.limb(foot, knee, 0.09, (60, 60, 62))
            canvas.limb(knee, top, 0.09, (60, 60, 62))


def _train_car(
    canvas: Canvas, frame: Pose, colour: Colour, length: float, height: float, half: float, ends: tuple[bool, bool]
) -> None:
    rear, front = (0.35 if end else 0.0 for end in ends)
    outline = [(0.0, 0.25), (0.0, 1.2), (rear, height - 0.3), (rear + 0.2, height), (length - front - 0.2, height),
               (length - front, height - 0.3), (length, 1.2), (length, 0.25)]  # fmt: skip
    body = Prism(canvas, frame, outline, lambda y: half * (1 - 0.1 * max(0.0, y - 2.6)))
    body.draw((232, 232, 228))
    body.side(rectangle(0.0, 0.3, length, 1.15), colour)
    body.side(rectangle(rear + 0.1, 1.5, length - front - 0.1, 2.75), GLASS)
    for z in np.arange(1.6, length - 0.5, 1.7).tolist():
        body.side(rectangle(z, 1.5, z + 0.1, 2.75), (200, 200, 196))
    body.side(rectangle(0.42 * length, 0.35, 0.42 * length + 1.3, 2.8), (88, 92, 96))
    body.side(rectangle(0.0, 0.25, length, 0.42), (55, 55, 58))
    for edge, along in ((0, (0.25, 1.0)), (6, (0.0, 0.75))):
        body.strip(edge, (-1, 1), along, colour)
    for edge, along in ((1, (0.12, 0.9)), (5, (0.1, 0.88))):
        body.strip(edge, (-0.88, 0.88), along, GLASS)
    body.both(0, 0.6, 0.85, (0.55, 0.8), TAIL_LIGHT)
    body.both(6, 0.6, 0.85, (0.2, 0.45), HEAD_LIGHT)


def _begin(
    canvas: Canvas, frame: Pose, name: str, length: float, half: float, axles: tuple[float, ...] = (), top: float = 0.0
) -> None:
    """A new object on its shadow, with the tyres that show below its rear."""
    canvas.shadow(frame.world(flat(-half, half, 0.0, length)), 0.62)
    canvas.begin(name)
    for z in axles:
        for low, high in ((-half, 0.24 - half), (half - 0.24, half)):
            canvas.polygons(frame.world([(low, 0.0, z), (high, 0.0, z), (high, top, z), (low, top, z)]), TYRE)


def _wheels(body: Prism, axles: tuple[float, ...], radius: float) -> None:
    for z in axles:
        body.side(wheel((z, radius), radius), TYRE, marked=True)
        body.side(wheel((z, radius), 0.58 * radius), CHROME)
