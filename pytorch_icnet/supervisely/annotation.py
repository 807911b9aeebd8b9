"""Annotations: the file beside an image that says what is where in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from icnet_common.config import is_name, nearest, read_json, shown
from icnet_common.errors import InputError

from ..imaging.images import MAX_PIXELS
from .meta import Meta
from .shapes import Shape, shape_of

MAX_BYTES = 128 << 20
MAX_OBJECTS = 20_000
MAX_DRAWN = 1 << 32
"""Pixels in the boxes of all figures of an image together: what drawing them may take."""
MAX_COVERED, MAX_MASKS = 16, 1 << 28
"""Pixels of all bitmaps together: so many times the image's, and in all."""


@dataclass(frozen=True)
class AnnotationFigure:
    """An object of an annotation."""

    title: str
    """Of its class."""
    shape: Shape | None
    """None: of a kind without pixels."""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As it stood in the file; empty for a new one."""

    def as_data(self) -> dict[str, Any]:
        """As the file holds it."""
        if self.data or self.shape is None:
            return dict(self.data)
        place = {"bitmap": None, "points": {"exterior": [], "interior": []}, **self.shape.as_data()}
        return {
            "description": "",
            "geometryType": self.shape.name,
            "tags": [],
            "classTitle": self.title,
            **{key: value for key, value in place.items() if value is not None},
        }


@dataclass(frozen=True)
class Annotation:
    """What is in an image."""

    size: tuple[int, int]
    """Height and width."""
    figures: tuple[AnnotationFigure, ...] = ()
    """Later ones lie above earlier ones."""
    tags: tuple[Any, ...] = ()
    """As they stand in the file: names, or objects with a name."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other keys, which are kept."""

    def tag_names(self) -> tuple[str, ...]:
        return tuple(str(tag.get("name")) if isinstance(tag, Mapping) else str(tag) for tag in self.tags)

    def label_map(self, indices: Mapping[str, int], origin: str, background: int = 0) -> npt.NDArray[np.uint8]:
        """The figures, drawn one over the other.

        Args:
            indices: what the pixels of each class become, 0 to 255.
            background: what pixels without a figure become.

        Returns:
            uint8 HxW.

        Raises:
            InputError: a figure's class has no index, or drawing all would take too long.
        """
        canvas = np.full(self.size, background, np.uint8)
        drawn = 0
        for figure in self.figures:
            if figure.title not in indices:
                raise InputError(f"{origin}: an object of the class {figure.title!r}, which is not learnt")
            if figure.shape is None:
                continue
            inside = figure.shape.box.within(*self.size)
            drawn += 0 if inside is None else inside.height * inside.width
            if drawn > MAX_DRAWN:
                raise InputError(f"{origin}: its objects cover more than {MAX_DRAWN} pixels together")
            figure.shape.draw(canvas, indices[figure.title])
        return canvas

    def as_data(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            "description": "",
            **self.more,
            "size": {"height": self.size[0], "width": self.size[1]},
            "tags": list(self.tags),
            "objects": [figure.as_data() for figure in self.figures],
        }


def read_summary(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], int]:
    """The names of an annotation's tags and the number of its objects, whose damages are not found.

    Raises InputError as :func:`read_annotation`.
    """
    objects, tags = _lists(read_json(path, MAX_BYTES), os.fspath(path))
    return Annotation((1, 1), tags=tuple(tags)).tag_names(), len(objects)


def read_annotation(path: str | os.PathLike[str], meta: Meta) -> Annotation:
    """Read an annotation of a project with the classes of ``meta``.

    Raises:
        InputError: no such file, damaged, or with classes that the project does not have; begins with the file's name.
    """
    return annotation_of(read_json(path, MAX_BYTES), meta, os.fspath(path))


def annotation_of(data: Any, meta: Meta, origin: str) -> Annotation:
    """An annotation from parsed JSON; ``origin`` is for messages. See :func:`read_annotation`."""
    objects, tags = _lists(data, origin)
    height, width = size_of(data, origin)
    shapes = {each.title: each.shape for each in meta.classes}
    figures, left = [], min(MAX_COVERED * height * width, MAX_MASKS)
    for number, each in enumerate(objects, start=1):
        title = each.get("classTitle") if isinstance(each, Mapping) else None
        if not is_name(title):
            raise InputError(f"{origin}: object {number}: its classTitle is {shown(title)}")
        if title not in shapes:
            raise InputError(f"{origin}: object {number}: no class {title!r} in meta.json{nearest(title, shapes)}")
        try:
            shape = shape_of(each, shapes[title], min(height * width, max(left, 0)))
        except ValueError as error:
            raise InputError(f"{origin}: object {number} ({title}): {error}") from error
        if shape is not None and shape.name == "bitmap":
            left -= shape.box.height * shape.box.width
        figures.append(AnnotationFigure(title, shape, dict(each)))
    more = {key: value for key, value in data.items() if key not in ("size", "objects", "tags")}
    return Annotation((height, width), tuple(figures), tuple(tags), more)


def size_of(data: Any, origin: str) -> tuple[int, int]:
    """Height and width of the image of an annotation, from parsed JSON; raises as :func:`read_annotation`."""
    data = data.get("size") if isinstance(data, Mapping) else None
    height, width = (data.get("height"), data.get("width")) if isinstance(data, Mapping) else (None, None)
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise InputError(f"{origin}: its size is {shown(data)}; expected height and width")
    if height * width > MAX_PIXELS:
        raise InputError(f"{origin}: {width}x{height} pixels are more than the {MAX_PIXELS} allowed")
    return height, width


def _lists(data: Any, origin: str) -> tuple[list[Any], list[Any]]:
    if not isinstance(data, Mapping):
        raise InputError(f"{origin}: not an annotation: expected an object with `size` and `objects`")
    objects, tags = (data.get(key) or [] for key in ("objects", "tags"))
    if not isinstance(objects, list) or not isinstance(tags, list):
        raise InputError(f"{origin}: `objects` and `tags` must be lists")
    if len(objects) > MAX_OBJECTS:
        raise InputError(f"{origin}: has {len(objects)} objects, more than {MAX_OBJECTS}")
    for tag in tags:
        if not is_name(tag.get("name") if isinstance(tag, Mapping) else tag):
            raise InputError(f"{origin}: a tag is {shown(tag)}; expected a name, or an object with one")
    return objects, tags
