"""``meta.json``: the classes and tags of a project."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from icnet_common.config import is_name, shown
from icnet_common.errors import InputError

from ..datasets.classes import PALETTE

Colour = tuple[int, int, int]

MAX_CLASSES = 10_000
MAX_META_BYTES = 8 << 20


@dataclass(frozen=True)
class ObjectClass:
    """A class of a project."""

    title: str
    shape: str = "bitmap"
    colour: Colour = (255, 0, 0)
    """Red, green, blue; 0 to 255."""
    more: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Other keys, which are kept."""

    def as_data(self) -> dict[str, Any]:
        colour = "#{:02X}{:02X}{:02X}".format(*self.colour)
        return {**self.more, "title": self.title, "shape": self.shape, "color": colour}


@dataclass(frozen=True)
class Meta:
    """The classes and tags of a project."""

    classes: tuple[ObjectClass, ...] = ()
    tags: tuple[Mapping[str, Any], ...] = ()
    """As they stand in the file."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other keys, such as ``projectType``, which are kept."""

    def find(self, title: str) -> ObjectClass | None:
        """The class of a title."""
        return next((each for each in self.classes if each.title == title), None)

    def tag_names(self) -> tuple[str, ...]:
        return tuple(str(tag["name"]) for tag in self.tags)

    def with_classes(self, added: Iterable[ObjectClass], origin: str) -> Meta:
        """The same project with more classes.

        Raises:
            InputError: one of another shape is there already under the name; ``origin`` is for the message.
        """
        classes = {each.title: each for each in self.classes}
        for new in added:
            known = classes.setdefault(new.title, new)
            if known.shape not in (new.shape, "any"):
                raise InputError(
                    f"{origin}: the class {new.title!r} is there already, for {known.shape}; give another add_suffix "
                    "or class_name"
                )
        return dataclasses.replace(self, classes=tuple(classes.values()))

    def as_data(self) -> dict[str, Any]:
        """As ``meta.json`` holds it."""
        return {**self.more, "classes": [each.as_data() for each in self.classes], "tags": [*self.tags]}


def meta_of(data: Any, origin: str) -> Meta:
    """The content of ``meta.json``, of any generation: tags may be names alone, or in two lists.

    Raises:
        InputError: not such a file; ``origin`` is for the message.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("classes"), list):
        raise InputError(f"{origin}: not the classes of a Supervisely project: expected an object with `classes`")
    if data.get("projectType") not in (None, "images"):
        raise InputError(f"{origin}: a project of {shown(data['projectType'])}; only images can be read")
    if len(data["classes"]) > MAX_CLASSES:
        raise InputError(f"{origin}: has {len(data['classes'])} classes, more than {MAX_CLASSES}")
    classes = classes_of(data["classes"], origin)
    tags = [tag for key in ("tags", "tags_images", "tags_objects") for tag in _list(data, key, origin)]
    named = {tag["name"]: tag for tag in reversed([_tag(tag, origin) for tag in tags])}
    known = ("classes", "tags", "tags_images", "tags_objects")
    return Meta(classes, tuple(reversed(named.values())), {k: v for k, v in data.items() if k not in known})


def classes_of(data: Any, origin: str) -> tuple[ObjectClass, ...]:
    """A list of classes. Raises InputError as :func:`meta_of`."""
    classes = []
    for number, each in enumerate(data, start=1):
        title = each.get("title") if isinstance(each, Mapping) else None
        if not is_name(title):
            raise InputError(f"{origin}: class {number}: its title is {shown(title)}; expected a name")
        shape = each.get("shape", "bitmap")
        if not is_name(shape):
            raise InputError(f"{origin}: class {title!r}: its shape is {shown(shape)}")
        more = {key: value for key, value in each.items() if key not in ("title", "shape", "color")}
        classes.append(ObjectClass(str(title), shape, _colour(each.get("color"), number, origin), more))
    titles = [each.title for each in classes]
    if len(set(titles)) != len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        raise InputError(f"{origin}: the class {twice!r} is there twice")
    return tuple(classes)


def _colour(value: Any, number: int, origin: str) -> Colour:
    if value is None:
        red, green, blue = (int(part) for part in PALETTE[number % 255])
        return red, green, blue
    if not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise InputError(f"{origin}: class {number}: its color is {shown(value)}; expected #RRGGBB")
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _list(data: Mapping[str, Any], key: str, origin: str) -> list[Any]:
    value = data.get(key) or []
    if not isinstance(value, list):
        raise InputError(f"{origin}: {key} is {shown(value)}; expected a list")
    return value


def _tag(tag: Any, origin: str) -> Mapping[str, Any]:
    if isinstance(tag, str):
        tag = {"name": tag, "value_type": "none", "color": "#A0A08C"}
    if not isinstance(tag, Mapping) or not is_name(tag.get("name")):
        raise InputError(f"{origin}: a tag is {shown(tag)}; expected an object with a `name`")
    return tag
