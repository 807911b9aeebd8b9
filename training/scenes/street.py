"""A street scene: what stands where, painted from far to near."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import people, roadside, vehicles
from .canvas import Canvas
from .ground import FAR, KERB, Street, grass, ground, horizon, plan, rails, sky
from .solid import Pose


def paint(canvas: Canvas, rng: np.random.Generator, overcast: float) -> None:
    """Draw a street at random and paint it."""
    street = plan(rng)
    sky(canvas, rng, overcast)
    horizon(canvas, rng)
    ground(canvas, rng, street)
    tram = float(rng.random()) < 0.38
    track = min(street.lanes, key=lambda lane: abs(lane.x + street.lane_width))
    if tram:
        rails(canvas, track.x)
    for side in (-1, 1):
        _roadside(canvas, rng, street, side)
    if rng.random() < 1 - overcast:
        _house_shadow(canvas, street)
    things = _Things(canvas, rng, street)
    things.on_pavements()
    things.parked()
    things.crossing()
    for lane in street.lanes:
        things.traffic(lane.x, lane.heading, tram=tram and lane == track)
    things.paint()


def _roadside(canvas: Canvas, rng: np.random.Generator, street: Street, side: int) -> None:
    """Stretches of houses, parks, walls and fences from the far end to the near one."""
    front = street.fronts[0 if side < 0 else 1]
    edges = [3.0]
    while edges[-1] < FAR:
        edges.append(edges[-1] + float(rng.uniform(14, 34)))
    for near, far in reversed(list(itertools.pairwise([*edges[:-1], FAR]))):
        kind = ("houses", "houses", "houses", "park", "park", "wall", "fence", "fence")[int(rng.integers(8))]
        for start, end in reversed(street.stretches(near, far)):
            if end - start < 4:
                continue
            if kind == "houses":
                _houses(canvas, rng, front, side, start, end)
                continue
            _beyond(canvas, rng, front, side, start, end)
            if kind == "wall":
                roadside.wall(canvas, rng, front, start, end)
            elif kind == "fence":
                roadside.fence(canvas, rng, front, start, end, KERB)
            elif rng.random() < 0.3:
                roadside.hedge(canvas, rng, front + side * 0.8, start, end, KERB)


def _houses(canvas: Canvas, rng: np.random.Generator, front: float, side: int, near: float, far: float) -> None:
    count = max(1, round((far - near) / 13))
    height = float(rng.uniform(7, 19))
    edges = np.linspace(near, far, count + 1).tolist()
    for start, end in reversed(list(itertools.pairwise(edges))):
        low, high = sorted((front, front + side * 14))
        roadside.house(canvas, rng, low, high, start, end, height * float(rng.uniform(0.8, 1.2)), side)


def _beyond(canvas: Canvas, rng: np.random.Generator, front: float, side: int, near: float, far: float) -> None:
    """A lawn with trees, perhaps before houses that stand back."""
    low, high = sorted((front, front + side * 40))
    grass(canvas, rng, low, high, near, far)
    if rng.random() < 0.6:
        _houses(canvas, rng, front + side * 13, side, near, far)
    for z in np.arange(far - 2, near + 1, -float(rng.uniform(5, 9))).tolist():
        roadside.tree(canvas, rng, front + side * float(rng.uniform(3, 9)), z, KERB)


def _house_shadow(canvas: Canvas, street: Street) -> None:
    """The shadow of one side's houses on the street, for a sun that stands beside it."""
    sun = canvas.light.sun
    if abs(sun[0]) < 0.35:
        return
    side = 1 if sun[0] > 0 else -1
    front = street.fronts[0 if side < 0 else 1]
    reach = front - side * min(abs(street.left - street.right) * 0.75, 9 * abs(sun[0]) / sun[1])
    for near, far in street.stretches():
        canvas.shadow([(front, KERB, near), (front, KERB, far), (reach, 0, far), (reach, 0, near)], 0.38)


class _Things:
    """What stands and moves on a street, drawn at random; painted from far to near."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator, street: Street) -> None:
        self.canvas, self.rng, self.street = canvas, rng, street
        self.items: list[tuple[float, Callable[[], None]]] = []

    def paint(self) -> None:
        for _, paint_item in sorted(self.items, key=lambda item: -item[0]):
            paint_item()

    def add(self, z: float, thing: Callable[..., None], *where: Any) -> None:
        self.items.append((z, partial(thing, self.canvas, self.rng, *where)))

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def somebody(self, low: float, high: float, z: float, y: float) -> None:
        x = self.uniform(min(low, high), max(low, high))
        self.add(z, people.person, Pose(x, z, self.uniform(-math.pi, math.pi), y))

    def vehicle(self, thing: Callable[..., None], x: float, z: float, heading: int, length: float) -> None:
        """A vehicle whose end nearest to the camera is z metres away."""
        yaw = (0.0 if heading > 0 else math.pi) + self.uniform(-0.03, 0.03)
        self.add(z, thing, Pose(x, z if heading > 0 else z + length, yaw))

    def sideways(self) -> float:
        return (1 if self.rng.random() < 0.5 else -1) * self.uniform(0.8, 2.2)

    def on_pavements(self) -> None:
        rng, junction = self.rng, self.street.junction
        for kerb, front in ((self.street.left, self.street.fronts[0]), (self.street.right, self.street.fronts[1])):
            side = 1 if kerb > 0 else -1
            edge = kerb + side * 0.55
            step = self.uniform(11, 22)
            kinds = (roadside.lamp, roadside.sign, roadside.traffic_light, roadside.sign)
            for z in np.arange(self.uniform(7, 14), 120, step).tolist():
                self.add(z, kinds[int(rng.integers(4))], edge, z, KERB)
            if junction:
                self.add(junction[0] - 1.5, roadside.traffic_light, edge, junction[0] - 1.5, KERB)
            if rng.random() < 0.4:
                start = self.uniform(6, 16)
                for z in np.arange(start, start + 16, 2.2).tolist():
                    self.add(z, roadside.bollard, kerb + side * 0.3, z, KERB)
            if rng.random() < 0.4 and abs(front - kerb) > 3:
                for z in np.arange(self.uniform(9, 20), 130, self.uniform(8, 14)).tolist():
                    self.add(z, roadside.tree, kerb + side * 1.0, z, KERB)
            if rng.random() < 0.35:
                near = self.uniform(5, 20)
                strip = sorted((kerb + side * 0.3, kerb + side * 1.3))
                self.add(FAR, grass, *strip, near, near + self.uniform(10, 40))
            for _ in range(int(rng.integers(3, 9))):
                self.somebody(kerb + side * 0.7, front - side * 0.6, self.uniform(6, 36), KERB)
            for _ in range(int(rng.integers(0, 4))):
                thing = people.bicycle if rng.random() < 0.6 else people.motorcycle
                pose = Pose(kerb + side * self.uniform(0.5, 1.3), self.uniform(6, 24), self.sideways(), KERB)
                self.add(pose.z, thing, pose)

    def parked(self) -> None:
        street, junction = self.street, self.street.junction
        for x, parked, heading in (
            (street.left + 1.15, street.parking[0], -1),
            (street.right - 1.15, street.parking[1], 1),
        ):
            z = self.uniform(5, 9)
            while parked and z < 100:
                chance = float(self.rng.random())
                length = 9.8 if 0.5 <= chance < 0.57 else 5.6
                if chance < 0.5:
                    self.vehicle(vehicles.car, x, z, heading, 4.6)
                elif chance < 0.57:
                    self.vehicle(vehicles.truck, x, z, heading, 9.0)
                elif chance < 0.68:
                    self.add(z + 1, people.motorcycle, Pose(x, z + 1, self.sideways()))
                z += length + self.uniform(0.3, 2.0)
                if junction and junction[0] - 8 < z + length and z < junction[1] + 2:
                    z = junction[1] + 3

    def traffic(self, x: float, heading: int, *, tram: bool) -> None:
        z = self.uniform(9 if abs(x) < 1 else 6, 30)
        if tram:
            self.vehicle(vehicles.train, x, z, heading, 25.5)
            z += 40
        kinds: tuple[tuple[float, Callable[..., None], float], ...] = (
            (0.42, vehicles.car, 4.6), (0.51, vehicles.truck, 9.0), (0.60, vehicles.bus, 12.5),
            (0.80, people.cyclist, 1.8), (1.0, people.motorcyclist, 2.1),
        )  # fmt: skip
        while z < 130:
            chance = float(self.rng.random())
            _, thing, length = next(kind for kind in kinds if chance < kind[0])
            aside = 0.9 if length < 3 else 0.2
            self.vehicle(thing, x + self.uniform(-aside, aside), z, heading, length)
            z += length + self.uniform(5, 30)

    def crossing(self) -> None:
        """People and cyclists who cross the road, most on the zebra crossing; traffic on the road that crosses."""
        street, rng = self.street, self.rng
        for _ in range(int(rng.integers(0, 5 if street.crossing else 2))):
            z = (street.crossing or self.uniform(9, 30)) + self.uniform(0.3, 2.7)
            if rng.random() < 0.7:
                self.somebody(street.left, street.right, z, 0.0)
            else:
                self.add(z, people.cyclist, Pose(self.uniform(street.left, street.right), z, self.sideways()))
        if street.junction and rng.random() < 0.5:
            thing = (vehicles.car, vehicles.bus, vehicles.truck)[int(rng.integers(3))]
            turned = 1 if rng.random() < 0.5 else -1
            middle = sum(street.junction) / 2 - turned * 2
            x = self.uniform(street.left - 10, street.right + 6)
            self.add(middle, thing, Pose(x, middle, turned * math.pi / 2))
