"""The pinhole camera, and frames of reference for objects that stand on the street.

World coordinates are metres: x to the right of the camera, y up from the road, z along the street.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NEAR = 0.8
"""Points nearer than this are drawn as if they were this far, in metres."""


@dataclass(frozen=True)
class PinholeCamera:
    """A camera that looks along the street.

    Attributes:
        focal: focal length in pixels.
        centre: column of the vanishing point.
        horizon: row of the horizon.
        height: metres above the road.
    """

    focal: float
    centre: float
    horizon: float
    height: float

    def project(self, points: npt.ArrayLike) -> Array:
        """World points (..., 3) to pixels (..., 2), column and row."""
        world = np.asarray(points, np.float64)
        scale = self.focal / np.maximum(world[..., 2], NEAR)
        pixels = np.empty((*world.shape[:-1], 2))
        pixels[..., 0] = self.centre + scale * world[..., 0]
        pixels[..., 1] = self.horizon + scale * (self.height - world[..., 1])
        return pixels

    def pixels(self, metres: float, z: float) -> float:
        """The length in the picture of a length across the view, ``z`` metres away."""
        return metres * self.focal / max(z, NEAR)


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
        world = np.empty(local.shape)
        world[..., 0] = self.x + cos * local[..., 0] + sin * local[..., 2]
        world[..., 1] = self.y + local[..., 1]
        world[..., 2] = self.z - sin * local[..., 0] + cos * local[..., 2]
        return world

    def local(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """World coordinates to object coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x, z = x - self.x, z - self.z
        return cos * x - sin * z, y - self.y, sin * x + cos * z

    def direction(self, vector: tuple[float, float, float]) -> tuple[float, float, float]:
        """A direction in object coordinates, in world coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return cos * vector[0] + sin * vector[2], vector[1], cos * vector[2] - sin * vector[0]
