"""Cityscapes' polygon annotations as images of ids, drawn as its own scripts draw them, by Pillow."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import INSTANCES, ClassTable
from pytorch_icnet.imaging.images import MAX_PIXELS
from pytorch_icnet.imaging.inputs import pillow_module

_GROUP = "group"
"""What an object's label ends with where single instances could not be told apart."""

_MAX_BYTES = 1 << 22
_MAX_COORDINATE = 1 << 20
_MAX_WORK = 1 << 31
"""Normalization and edges that drawing may visit; Cityscapes' own files stay below a tenth of it."""


@dataclass(frozen=True)
class _Object:
    label: str
    polygon: list[tuple[float, float]]


def draw(path: str | os.PathLike[str], table: ClassTable) -> npt.NDArray[np.int32]:
    """The instance ids of a ``*_polygons.json`` file, int32 HxW; below :data:`INSTANCES` an id is a label id.

    Later objects cover earlier ones; deleted ones and labels without an id, as licence plates, are left out. What no
    polygon covers is 0.

    Args:
        path: the file; it may come from anyone.
        table: which names have which ids, and which classes have instances.

    Raises:
        InputError: not such a file, a label that the table does not know, or more to draw than is sensible.
        OSError: the file cannot be read.
    """
    path = Path(path)
    size, objects = _read(path)
    image = pillow_module("Image", "drawing polygons").new("I", size[::-1], 0)
    drawer = pillow_module("ImageDraw", "drawing polygons").Draw(image)
    instances: Counter[str] = Counter()
    for item in objects:
        value = _value(path, item.label, table, instances)
        if value is not None:
            drawer.polygon(item.polygon, fill=value)
    return np.array(image, np.int32)


def _value(path: Path, label: str, table: ClassTable, instances: Counter[str]) -> int | None:
    """What to draw an object with, counting it among the instances of its class; None: nothing."""
    group = label not in table.by_name and label.endswith(_GROUP)
    name = label.removesuffix(_GROUP) if group else label
    if name in table.without_id:
        return None
    entry = table.by_name.get(name)
    if entry is None:
        raise InputError(
            f"{path}: an object is called {label[:80]!r}, which is no class of {table.name or 'the table'}"
        )
    if group or not entry.has_instances:
        return entry.label_id
    number = instances[name]
    instances[name] += 1
    if number >= INSTANCES:
        raise InputError(f"{path}: more than {INSTANCES} instances of {name}; their ids would be another class's")
    return entry.label_id * INSTANCES + number


def _read(path: Path) -> tuple[tuple[int, int], list[_Object]]:
    """Height and width, and the objects that are not deleted."""
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path}: too large for an annotation")
    try:
        data = json.loads(path.read_bytes())
        size = _length(data["imgHeight"]), _length(data["imgWidth"])
        objects = list(_objects(data["objects"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: not a polygon annotation of Cityscapes: {reason[:200]}") from error
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{path}: {size[1]}x{size[0]} pixels are more than the {MAX_PIXELS} allowed")
    if sum(_work(item.polygon, size) for item in objects) > _MAX_WORK:
        raise InputError(f"{path}: the polygons are too many or too large to be an annotation")
    return size, objects


def _length(value: Any) -> int:
    if type(value) is not int or not 0 < value <= _MAX_COORDINATE:
        raise ValueError("imgHeight and imgWidth are whole numbers of pixels")
    return value


def _objects(data: Any) -> Iterator[_Object]:
    for item in data:
        if item.get("deleted"):
            continue
        polygon = [(float(x), float(y)) for x, y in item["polygon"]]
        if len(polygon) < 2:
            raise ValueError("a polygon has fewer than two points")
        if not all(math.isfinite(value) and abs(value) <= _MAX_COORDINATE for point in polygon for value in point):
            raise ValueError("a point of a polygon is far outside of the image")
        yield _Object(str(item["label"]), polygon)


def _work(polygon: list[tuple[float, float]], size: tuple[int, int]) -> int:
    """About how many pixels and edges Pillow visits: all edges in each row, and their ends against each other."""
    spans = []
    for length, values in zip(size[::-1], zip(*polygon, strict=True), strict=True):
        spans.append(max(0, min(length, int(max(values)) + 1) - max(0, int(min(values)))))
    points = len(polygon)
    return spans[0] * spans[1] + points * spans[1] + points * points
