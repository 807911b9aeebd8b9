"""Where objects stand, and solids that are one outline drawn out across a width: vehicles and houses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .canvas import Array, Canvas, Colour

Point = tuple[float, float]
"""z (metres ahead of the frame's origin) and y (metres up)."""


@dataclass(frozen=True)
class Pose:
    """Where an object stands, and where it is heading.

    Attributes:
        x, z: its origin on the ground, metres.
        yaw: radians; 0 heads away from the camera, pi towards it, pi / 2 to the right.
        y: height of the ground there.
    """

    x: float
    z: float
    yaw: float = 0.0
    y: float = 0.0

    def world(self, points: npt.ArrayLike) -> Array:
        """Object coordinates (..., 3), metres to its right, up and ahead of its origin, to world coordinates."""
        local = np.asarray(points, np.float64)
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        right, up, ahead = local[..., 0], local[..., 1], local[..., 2]
        return np.stack([self.x + cos * right + sin * ahead, self.y + up, self.z - sin * right + cos * ahead], axis=-1)

    def local(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """World coordinates to object coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, z = x - self.x, z - self.z
        return cos * x - sin * z, y - self.y, sin * x + cos * z

    def direction(self, vector: tuple[float, float, float]) -> tuple[float, float, float]:
        """A direction in object coordinates, in world coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return cos * vector[0] + sin * vector[2], vector[1], cos * vector[2] - sin * vector[0]


class Prism:
    """An outline in the plane of z and y, from ``-half_width(y)`` to ``+half_width(y)`` across.

    Args:
        outline: corners, clockwise when seen from the left (z to the left, y up), that is: up at the rear, forward
            on the top, down at the front.
        half_width: metres, by height.
    """

    def __init__(
        self, canvas: Canvas, frame: Pose, outline: Sequence[Point], half_width: Callable[[float], float]
    ) -> None:
        self.canvas, self.frame, self.outline, self.half_width = canvas, frame, tuple(outline), half_width
        x, y, z = frame.local(0.0, canvas.camera.height, 0.0)
        self._eye = (z, y)
        widest = max(half_width(y) for _, y in outline)
        self.visible_side = 1 if x > widest else -1 if x < -widest else 0
        """1: the right side can be seen, -1: the left one, 0: neither."""

    def draw(self, colour: Colour) -> None:
        """Paint the faces that can be seen, the far ones first."""
        edges = [edge for edge in range(len(self.outline)) if self.sees(edge)]
        middles = {edge: sum(z for z, _ in self._corners(edge)) / 2 for edge in edges}
        for edge in sorted(edges, key=lambda edge: abs(middles[edge] - self._eye[0]), reverse=True):
            self.strip(edge, (-1, 1), (0, 1), colour, marked=True)
        self.side(self.outline, colour, marked=True)

    def sees(self, edge: int) -> bool:
        """Whether the face over an edge (from corner ``edge`` to the next) can be seen."""
        (z0, y0), (z1, y1) = self._corners(edge)
        return (self._eye[0] - z0) * -(y1 - y0) + (self._eye[1] - y0) * (z1 - z0) > 0

    def strip(self, edge: int, across: Point, along: Point, colour: Colour, *, marked: bool = False) -> None:
        """Paint a part of the face over an edge, where it can be seen.

        Args:
            across: from -1 (left) to 1 (right).
            along: from 0 (the edge's first corner) to 1 (its second).
        """
        if not self.sees(edge):
            return
        (z0, y0), (z1, y1) = self._corners(edge)
        corners = []
        for s, t in ((across[0], along[0]), (across[1], along[0]), (across[1], along[1]), (across[0], along[1])):
            y = y0 + t * (y1 - y0)
            corners.append((s * self.half_width(y), y, z0 + t * (z1 - z0)))
        length = math.hypot(z1 - z0, y1 - y0)
        normal = self.frame.direction((0.0, (z1 - z0) / length, -(y1 - y0) / length))
        self._paint(corners, colour, normal, marked)

    def both(self, edge: int, inner: float, outer: float, along: Point, colour: Colour) -> None:
        """Paint a part of the face over an edge twice, left and right of the middle; see :meth:`strip`."""
        self.strip(edge, (-outer, -inner), along, colour)
        self.strip(edge, (inner, outer), along, colour)

    def side(self, points: Sequence[Point], colour: Colour, *, marked: bool = False) -> None:
        """Paint a polygon on the side that can be seen, if one can."""
        self._paint_side([points], colour, marked)

    def side_many(self, rectangles: Sequence[tuple[float, float, float, float]], colour: Colour) -> None:
        """Paint rectangles (z0, y0, z1, y1) on the side that can be seen, if one can."""
        self._paint_side([rectangle(*limits) for limits in rectangles], colour, False)

    def _paint_side(self, polygons: Sequence[Sequence[Point]], colour: Colour, marked: bool) -> None:
        if (x := self.visible_side) and polygons:
            corners = [[(x * self.half_width(y), y, z) for z, y in points] for points in polygons]
            self._paint(corners, colour, self.frame.direction((float(x), 0.0, 0.0)), marked)

    def _paint(self, corners: npt.ArrayLike, colour: Colour, normal: tuple[float, float, float], marked: bool) -> None:
        self.canvas.polygons(self.frame.world(corners), colour, shade=self.canvas.light.on(normal), marked=marked)

    def _corners(self, edge: int) -> tuple[Point, Point]:
        return self.outline[edge], self.outline[(edge + 1) % len(self.outline)]


def wheel(centre: Point, radius: float) -> list[Point]:
    """A circle in the plane of z and y, as a polygon."""
    angles = np.arange(20) * (2 * math.pi / 20)
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles.tolist()]


def rectangle(z0: float, y0: float, z1: float, y1: float) -> tuple[Point, Point, Point, Point]:
    """An upright rectangle as an outline for :class:`Prism`."""
    return (z0, y0), (z0, y1), (z1, y1), (z1, y0)
