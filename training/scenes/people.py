"""Persons, riders, bicycles and motorcycles, built of rods and discs so that they look right from any side."""

from __future__ import annotations

import math

import numpy as np

from .canvas import Canvas, Colour, Vector, chosen, flat, scaled
from .solid import Point, Pose

SKIN: tuple[Colour, ...] = ((224, 178, 148), (198, 148, 116), (150, 104, 78), (96, 66, 50))
CLOTHES: tuple[Colour, ...] = (
    (32, 34, 40), (70, 74, 84), (46, 62, 104), (120, 34, 38), (170, 160, 140), (205, 205, 200), (84, 96, 62),
    (196, 120, 46), (36, 104, 110), (128, 72, 112),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = ((28, 30, 36), (48, 56, 82), (84, 78, 70), (140, 130, 112))
HAIR: tuple[Colour, ...] = ((28, 22, 20), (70, 48, 32), (140, 108, 66), (150, 150, 148))
BIKE_PAINTS: tuple[Colour, ...] = ((150, 30, 32), (30, 60, 120), (30, 32, 34), (170, 172, 176), (40, 110, 70))
RUBBER: Colour = (26, 26, 28)


class BodyShape:
    """A person's colours and size, and where the joints are."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
        self.canvas, self.frame = canvas, frame
        self.size = float(rng.uniform(0.9, 1.06)) if rng.random() > 0.1 else float(rng.uniform(0.6, 0.75))
        self.coat, self.trousers = chosen(rng, CLOTHES), chosen(rng, TROUSERS)
        self.skin, self.hair = chosen(rng, SKIN), chosen(rng, HAIR)

    def at(self, x: float, y: float, z: float) -> list[float]:
        """A point of the body in the world; x, y and z in metres for somebody 1.75 m tall."""
        return list(self.frame.world((x * self.size, y * self.size, z * self.size)).tolist())

    def limb(self, start: Vector, end: Vector, width: float, colour: Colour) -> None:
        self.canvas.limb(self.at(*start), self.at(*end), width * self.size, colour)

    def head(self, centre: Vector, top: Colour) -> None:
        x, y, z = centre
        self.canvas.balls([self.at(x, y + 0.03, z)], [0.125 * self.size], [top])
        self.canvas.balls([self.at(x, y - 0.04, z)], [0.1 * self.size], [self.skin])
        self.canvas.balls([self.at(x, y + 0.07, z - 0.01)], [0.09 * self.size], [top], marked=False)


def person(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """Somebody who walks along z, or stands."""
    figure = BodyShape(canvas, rng, frame)
    step = float(rng.uniform(0.0, 0.32)) * (1 if rng.random() < 0.5 else -1)
    canvas.shadow(frame.world(flat(-0.3, 0.3, -0.2, 0.3)), 0.45)
    canvas.begin("person")
    for side in (-1, 1):
        foot = (side * 0.1, 0.05, side * step)
        knee = (side * 0.1, 0.48, side * step * 0.5 + 0.06)
        figure.limb((side * 0.09, 0.9, 0.0), knee, 0.17, figure.trousers)
        figure.limb(knee, foot, 0.13, figure.trousers)
        figure.limb(foot, (side * 0.1, 0.04, side * step + 0.12), 0.09, (30, 28, 28))
    figure.limb((-0.07, 0.95, 0.0), (-0.09, 1.36, 0.0), 0.24, figure.coat)
    figure.limb((0.07, 0.95, 0.0), (0.09, 1.36, 0.0), 0.24, figure.coat)
    sleeve = scaled(figure.coat, 0.86)
    for side in (-1, 1):
        elbow = (side * 0.27, 1.12, -side * step * 0.3)
        figure.limb((side * 0.2, 1.4, 0.0), elbow, 0.11, sleeve)
        figure.limb(elbow, (side * 0.25, 0.86, -side * step * 0.9 + 0.05), 0.09, sleeve)
        canvas.balls([figure.at(side * 0.25, 0.84, -side * step * 0.9 + 0.05)], [0.05], [figure.skin], marked=False)
    figure.limb((0.0, 1.42, 0.0), (0.0, 1.52, 0.0), 0.1, figure.skin)
    figure.head((0.0, 1.62, 0.02), figure.hair)
    if rng.random() < 0.3:
        figure.limb((0.3, 0.85, 0.0), (0.3, 0.68, 0.0), 0.24, chosen(rng, CLOTHES))


def bicycle(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A bicycle, heading along z, on its own."""
    canvas.shadow(frame.world(flat(-0.3, 0.3, 0.0, 1.75)), 0.45)
    canvas.begin("bicycle")
    paint = chosen(rng, BIKE_PAINTS)
    rear, front, pedals = (0.0, 0.34, 0.35), (0.0, 0.34, 1.4), (0.0, 0.28, 0.82)
    seat, head = (0.0, 0.85, 0.62), (0.0, 0.88, 1.22)
    for centre in (rear, front):
        _wheel(canvas, frame, centre, 0.34, 0.05)
    for start, end in ((rear, pedals), (rear, seat), (pedals, seat), (pedals, head), (seat, head), (front, head)):
        _rod(canvas, frame, start, end, 0.055, paint)
    _rod(canvas, frame, (0.0, 0.95, 0.5), (0.0, 0.95, 0.72), 0.12, RUBBER)
    _rod(canvas, frame, head, (0.0, 1.05, 1.2), 0.05, paint)
    _rod(canvas, frame, (-0.28, 1.08, 1.16), (0.28, 1.08, 1.16), 0.05, RUBBER)
    _rod(canvas, frame, (-0.16, 0.3, 0.82), (0.16, 0.3, 0.82), 0.05, RUBBER)


def motorcycle(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A motorcycle or a scooter, heading along z, on its own."""
    canvas.shadow(frame.world(flat(-0.3, 0.3, 0.0, 2.1)), 0.45)
    canvas.begin("motorcycle")
    paint = chosen(rng, BIKE_PAINTS)
    for z in (0.35, 1.75):
        _wheel(canvas, frame, (0.0, 0.32, z), 0.32, 0.15)
    _rod(canvas, frame, (0.0, 0.45, 0.55), (0.0, 0.45, 1.4), 0.34, (58, 58, 62))
    _rod(canvas, frame, (0.0, 0.8, 0.95), (0.0, 0.85, 1.3), 0.34, paint)
    _rod(canvas, frame, (0.0, 0.78, 0.3), (0.0, 0.78, 0.95), 0.24, RUBBER)
    _rod(canvas, frame, (0.0, 0.62, 0.12), (0.0, 0.72, 0.45), 0.2, paint)
    _rod(canvas, frame, (0.0, 0.36, 1.75), (0.0, 0.95, 1.45), 0.1, (150, 152, 156))
    _rod(canvas, frame, (-0.36, 1.05, 1.35), (0.36, 1.05, 1.35), 0.07, RUBBER)
    _rod(canvas, frame, (0.0, 0.9, 1.5), (0.0, 1.18, 1.42), 0.26, paint)
    canvas.balls([frame.world((0.0, 0.92, 1.62))], [0.1], [(235, 235, 215)], marked=False)
    canvas.balls([frame.world((0.0, 0.68, 0.05))], [0.07], [(190, 25, 22)], marked=False)
    _rod(canvas, frame, (0.2, 0.3, 0.2), (0.2, 0.32, 0.9), 0.1, (140, 142, 146))


def cyclist(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A bicycle with its rider."""
    bicycle(canvas, rng, frame)
    _rider(canvas, rng, frame, seat=(0.62, 0.98), hands=(1.14, 1.1), feet=(0.82, 0.28), helmet=bool(rng.random() < 0.5))


def motorcyclist(canvas: Canvas, rng: np.random.Generator, frame: Pose) -> None:
    """A motorcycle with its rider."""
    motorcycle(canvas, rng, frame)
    _rider(canvas, rng, frame, seat=(0.68, 0.92), hands=(1.32, 1.08), feet=(0.95, 0.32), helmet=True)


def _rider(
    canvas: Canvas, rng: np.random.Generator, frame: Pose, *, seat: Point, hands: Point, feet: Point, helmet: bool
) -> None:
    """Somebody on a saddle; seat, hands and feet are (z, y)."""
    canvas.begin("rider")
    figure = BodyShape(canvas, rng, frame)
    figure.size = 1.0
    hip, shoulder = (seat[0], seat[1]), (seat[0] + 0.26, seat[1] + 0.5)
    turn = float(rng.uniform(-0.12, 0.12))
    for side in (-1, 1):
        foot = (side * 0.13, feet[1] + side * turn, feet[0])
        knee = (side * 0.16, (hip[1] + foot[1]) / 2 + 0.1, max(hip[0], foot[2]) + 0.2)
        figure.limb((side * 0.1, hip[1], hip[0]), knee, 0.17, figure.trousers)
        figure.limb(knee, foot, 0.13, figure.trousers)
        figure.limb(foot, (foot[0], foot[1], foot[2] + 0.14), 0.09, (30, 28, 28))
    for side in (-1, 1):
        figure.limb((side * 0.08, hip[1], hip[0]), (side * 0.1, shoulder[1], shoulder[0]), 0.25, figure.coat)
        elbow = (side * 0.3, (shoulder[1] + hands[1]) / 2 - 0.06, (shoulder[0] + hands[0]) / 2)
        figure.limb((side * 0.2, shoulder[1], shoulder[0]), elbow, 0.11, figure.coat)
        figure.limb(elbow, (side * 0.26, hands[1], hands[0]), 0.09, figure.coat)
    figure.limb((0.0, shoulder[1], shoulder[0]), (0.0, shoulder[1] + 0.16, shoulder[0] + 0.08), 0.1, figure.skin)
    figure.head((0.0, shoulder[1] + 0.25, shoulder[0] + 0.1), chosen(rng, BIKE_PAINTS) if helmet else figure.hair)


def _wheel(canvas: Canvas, frame: Pose, centre: Vector, radius: float, width: float) -> None:
    """A wheel in the plane of y and z; between the spokes shows the colour that was there, under the wheel's label."""
    angles = np.arange(16) * (2 * math.pi / 16)
    rim = np.stack([np.zeros(16), centre[1] + radius * np.cos(angles), centre[2] + radius * np.sin(angles)], axis=1)
    column, row = np.round(canvas.camera.project(frame.world(centre))).astype(int)
    height, width_px = canvas.objects.shape
    red, green, blue = canvas.rgb[row.clip(0, height - 1), column.clip(0, width_px - 1)].astype(float).tolist()
    canvas.flat(canvas.camera.project(frame.world(rim)), (red, green, blue))
    rim_world = frame.world(rim).tolist()
    for start, end in zip(rim_world, rim_world[1:] + rim_world[:1], strict=True):
        canvas.limb(start, end, width, RUBBER)
    for start, end in zip(rim_world[:8:2], rim_world[8::2], strict=True):
        canvas.limb(start, end, 0.012, (150, 150, 150), marked=False)


def _rod(canvas: Canvas, frame: Pose, start: Vector, end: Vector, width: float, colour: Colour) -> None:
    a, b = frame.world([start, end]).tolist()
    canvas.limb(a, b, width, colour)
