"""A picture and its label map, painted together from far to near, as a pinhole camera sees them.

World coordinates are metres: x to the right of the camera, y up from the road, z along the street.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pytorch_icnet.datasets.classes import CITYSCAPES, IGNORED

Array = npt.NDArray[np.float64]
Vector = tuple[float, float, float]
Colour = tuple[float, float, float]
"""Red, green, blue; 0 to 255."""

TRAIN_IDS = {item.name: index for index, item in enumerate(CITYSCAPES)}

NEAR = 0.8
"""Points nearer than this are drawn as if they were this far, in metres."""
_SHIFT = 4
"""Bits after the point in the coordinates that OpenCV takes."""
_FURTHEST_PIXEL = 1e6


def chosen(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours."""
    return colours[int(rng.integers(len(colours)))]


def varied(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """One of the colours, up to 15 % darker or brighter."""
    return scaled(chosen(rng, colours), float(rng.uniform(0.85, 1.15)))


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or brighter."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Noise from 0 to 255 with about ``cells`` (rows, columns) hills and valleys over a picture of ``size``."""
    noise = rng.integers(0, 256, cells, np.uint8)
    while noise.shape[1] < 256:
        noise = np.asarray(cv2.pyrUp(noise), np.uint8)
    low, high = int(noise.min()), int(noise.max())
    noise = ((noise.astype(np.int32) - low) * 255 // max(1, high - low)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)


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
        rows = self.horizon + scale * (self.height - world[..., 1])
        return np.stack([self.centre + scale * world[..., 0], rows], axis=-1)

    def pixels(self, metres: float, z: float) -> float:
        """The length in the picture of a length across the view, ``z`` metres away."""
        return metres * self.focal / max(z, NEAR)


def flat(x0: float, x1: float, near: float, far: float, y: float = 0.0) -> list[Vector]:
    """A level rectangle of the world, metres."""
    return [(x0, y, near), (x1, y, near), (x1, y, far), (x0, y, far)]


@dataclass(frozen=True)
class Light:
    """The sun, the sky's light, and the air.

    Attributes:
        sun: unit vector towards the sun.
        direct: share of the light that comes from the sun; the rest comes from everywhere.
        haze: colour of the air.
        sight: metres at which the haze has taken two thirds of a colour.
    """

    sun: Vector
    direct: float
    haze: Colour
    sight: float

    def on(self, normal: Vector) -> float:
        """Brightness of a surface with this unit normal, about 0.5 to 1.2."""
        towards = sum(n * s for n, s in zip(normal, self.sun, strict=True))
        return 0.95 - 0.55 * self.direct + 0.9 * self.direct * max(0.0, towards) + 0.1 * normal[1]

    def through_air(self, colour: Colour, z: float) -> Colour:
        """A colour as it is seen ``z`` metres away."""
        share = 1 - math.exp(-z / self.sight)
        (red, green, blue), haze = colour, self.haze
        return red + share * (haze[0] - red), green + share * (haze[1] - green), blue + share * (haze[2] - blue)


class Canvas:
    """Paints shapes of the world into ``rgb`` and, under the number of their object, into ``objects``.

    Attributes:
        rgb: uint8 HxWx3.
        objects: uint16 HxW; numbers grow in the order of painting, so a larger one is in front.
        classes: the trainId of each object; object 0 is void.
    """

    def __init__(self, size: tuple[int, int], camera: PinholeCamera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.rgb = np.zeros((*size, 3), np.uint8)
        self.objects = np.zeros(size, np.uint16)
        self.classes = [IGNORED]
        self._object = 0

    def begin(self, name: str) -> None:
        """What is painted from here on belongs to a new object of this class ("void": to none)."""
        if name == "void":
            self._object = 0
            return
        self.classes.append(TRAIN_IDS[name])
        self._object = len(self.classes) - 1

    def polygons(self, points: npt.ArrayLike, colour: Colour, *, shade: float = 1.0, marked: bool = True) -> None:
        """Fill polygons of the world.

        Args:
            points: (corners, 3) or (polygons, corners, 3), metres.
            colour: before shade and haze.
            shade: brightness of the surface.
            marked: paint the label too; without, the shape is a detail of what is there already.
        """
        world = np.asarray(points, np.float64)
        world = world.reshape(-1, *world.shape[-2:])
        self.flat(self.camera.project(world), self.tone(colour, float(world[..., 2].mean()), shade), marked=marked)

    def mark(self, points: npt.ArrayLike) -> None:
        """Give a polygon (corners, 3) of the world to the object without painting it: what shows between bars."""
        cv2.fillPoly(self.objects, [_fixed(self.camera.project(points))], self._object, cv2.LINE_8, _SHIFT)

    def flat(self, points: npt.ArrayLike, colour: Colour, *, marked: bool = True) -> None:
        """Fill polygons (..., corners, 2) of the picture, in pixels; the colour is painted as it is."""
        fixed = _fixed(np.asarray(points, np.float64))
        shapes = list(fixed.reshape(-1, *fixed.shape[-2:]))
        cv2.fillPoly(self.rgb, shapes, colour, cv2.LINE_AA, _SHIFT)
        if marked:
            cv2.fillPoly(self.objects, shapes, self._object, cv2.LINE_8, _SHIFT)

    def limb(
        self, start: Sequence[float], end: Sequence[float], width: float, colour: Colour, *, marked: bool = True
    ) -> None:
        """A rod with round ends between two points of the world, ``width`` metres thick."""
        z = (start[2] + end[2]) / 2
        ends = np.round(self.camera.project([start, end]) * (1 << _SHIFT)).astype(int).clip(-(2**20), 2**20).tolist()
        thickness = max(1, min(255, round(self.camera.pixels(width, z))))
        cv2.line(self.rgb, ends[0], ends[1], self.tone(colour, z), thickness, cv2.LINE_AA, _SHIFT)
        if marked:
            cv2.line(self.objects, ends[0], ends[1], self._object, thickness, cv2.LINE_8, _SHIFT)

    def balls(
        self, centres: npt.ArrayLike, radii: npt.ArrayLike, colours: Sequence[Colour], *, marked: bool = True
    ) -> None:
        """Discs that face the camera: centres (n, 3) and radii (n,) in metres; one colour for all, or one for each."""
        world = np.asarray(centres, np.float64).reshape(-1, 3)
        sizes = np.asarray(radii, np.float64).reshape(-1) * self.camera.focal / np.maximum(world[:, 2], 1.0)
        pixels = np.round(self.camera.project(world) * (1 << _SHIFT)).astype(int).clip(-(2**20), 2**20).tolist()
        rounded = np.round(sizes * (1 << _SHIFT)).astype(int).tolist()
        tones = [self.tone(colour, float(world[0, 2])) for colour in colours]
        for number, (centre, radius) in enumerate(zip(pixels, rounded, strict=True)):
            cv2.circle(self.rgb, centre, radius, tones[number % len(tones)], -1, cv2.LINE_AA, _SHIFT)
            if marked:
                cv2.circle(self.objects, centre, radius, self._object, -1, cv2.LINE_8, _SHIFT)

    def shadow(self, points: npt.ArrayLike, strength: float) -> None:
        """Darken a polygon (corners, 3) of the world by ``strength``, 0 to 1, with a soft edge."""
        corners = self.camera.project(points)
        height, width = self.objects.shape
        soft = max(1, height // 128)
        left, top = np.clip(np.floor(corners.min(0)).astype(int) - soft, 0, (width, height)).tolist()
        right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + soft + 1, 0, (width, height)).tolist()
        if right - left < 2 or bottom - top < 2:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [_fixed(corners - (left, top))], round(255 * strength), cv2.LINE_AA, _SHIFT)
        mask = cv2.blur(mask, (2 * soft + 1, 2 * soft + 1))
        region = self.rgb[top:bottom, left:right]
        region[:] = (region.astype(np.uint16) * (256 - mask.astype(np.uint16))[..., None]) >> 8

    def tone(self, colour: Colour, z: float, shade: float = 1.0) -> Colour:
        """A colour on a surface of this brightness, ``z`` metres away; 0 to 255."""
        seen = self.light.through_air(scaled(colour, shade), z)
        return min(255.0, seen[0]), min(255.0, seen[1]), min(255.0, seen[2])

    def label(self) -> npt.NDArray[np.uint8]:
        """The label map, uint8 HxW of trainIds.

        Where an object hides another, the hidden one's edge is void, unless both are parts of the same surroundings.
        """
        classes = np.array(self.classes, np.uint8)
        label = classes[self.objects]
        thickness = max(1, round(self.objects.shape[0] / 512))
        in_front = cv2.dilate(self.objects, np.ones((3, 3), np.uint8), iterations=thickness)
        other = classes[in_front]
        countable = other >= TRAIN_IDS["person"]
        label[(in_front != self.objects) & ((other != label) | countable)] = IGNORED
        return label


def _fixed(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Coordinates with :data:`_SHIFT` bits after the point."""
    return np.asarray(np.round(pixels.clip(-_FURTHEST_PIXEL, _FURTHEST_PIXEL) * (1 << _SHIFT)), np.int32)
