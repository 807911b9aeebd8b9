"""Tables of classes: which of a data set's ids are scored, as which trainId, under which name and colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from prototxt.errors import InputError
from pytorch_icnet.imaging.palette import CITYSCAPES, IGNORED, PALETTE, class_names

Bytes = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

MAX_CLASSES = 254
"""8-bit label maps hold so many besides 254 and 255, which the official evaluation ignores."""

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class ClassEntry:
    """An id that labels may have."""

    label_id: int
    """The data set's own id, 0 to 255."""
    name: str
    colour: Colour
    """Red, green, blue; 0 to 255."""
    train_id: int | None
    """None: pixels of this id are not scored."""
    category: str = ""
    has_instances: bool = False


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set. TrainIds are 0, 1, 2, ... without gaps; :data:`IGNORED` is what is not scored."""

    name: str
    entries: tuple[ClassEntry, ...]
    """Of all ids; several may share a trainId, of which the first is the one that predictions are written as."""

    @cached_property
    def scored(self) -> tuple[ClassEntry, ...]:
        """The first entry of each trainId, in the order of the trainIds."""
        first: dict[int, ClassEntry] = {}
        for entry in self.entries:
            if entry.train_id is not None:
                first.setdefault(entry.train_id, entry)
        return tuple(first[train_id] for train_id in sorted(first))

    @property
    def num_classes(self) -> int:
        return len(self.scored)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, in the order of the trainIds."""
        return tuple(entry.name for entry in self.scored)

    @cached_property
    def to_train_id(self) -> Bytes:
        """(256,) the trainId of each id; :data:`IGNORED` for an ignored or unknown one."""
        table = np.full(256, IGNORED, np.uint8)
        for entry in self.entries:
            table[entry.label_id] = IGNORED if entry.train_id is None else entry.train_id
        return table

    @cached_property
    def to_label_id(self) -> Bytes:
        """(256,) the id of each trainId; 0 for what is no trainId."""
        table = np.zeros(256, np.uint8)
        for entry in self.scored:
            assert entry.train_id is not None
            table[entry.train_id] = entry.label_id
        return table

    @cached_property
    def palette(self) -> Bytes:
        """(256, 3) colours of trainIds, red green blue; what is no trainId has the default palette's colour."""
        colours = PALETTE.copy()
        colours[: self.num_classes] = [entry.colour for entry in self.scored]
        return colours

    @cached_property
    def by_name(self) -> Mapping[str, ClassEntry]:
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def by_label_id(self) -> Mapping[int, ClassEntry]:
        return {entry.label_id: entry for entry in self.entries}


_VOID = (
    ("unlabeled", 0, (0, 0, 0)),
    ("ego vehicle", 1, (0, 0, 0)),
    ("rectification border", 2, (0, 0, 0)),
    ("out of roi", 3, (0, 0, 0)),
    ("static", 4, (0, 0, 0)),
    ("dynamic", 5, (111, 74, 0)),
    ("ground", 6, (81, 0, 81)),
    ("parking", 9, (250, 170, 160)),
    ("rail track", 10, (230, 150, 140)),
    ("guard rail", 14, (180, 165, 180)),
    ("bridge", 15, (150, 100, 100)),
    ("tunnel", 16, (150, 120, 90)),
    ("polegroup", 18, (153, 153, 153)),
    ("caravan", 29, (0, 0, 90)),
    ("trailer", 30, (0, 0, 110)),
)
"""Cityscapes' labels that are neither trained nor scored: name, id, colour."""

_CATEGORIES = {
    "flat": range(7, 11),
    "construction": range(11, 17),
    "object": range(17, 21),
    "nature": range(21, 23),
    "sky": range(23, 24),
    "human": range(24, 26),
    "vehicle": range(26, 34),
}
"""Ids of Cityscapes' categories; the others are void."""


def _cityscapes() -> ClassTable:
    labels = [(item.name, item.label_id, item.colour, train_id) for train_id, item in enumerate(CITYSCAPES)]
    every = sorted([*labels, *((*void, None) for void in _VOID)], key=lambda label: label[1])
    entries = []
    for name, label_id, colour, train_id in every:
        category = next((key for key, ids in _CATEGORIES.items() if label_id in ids), "void")
        entries.append(ClassEntry(label_id, name, colour, train_id, category, category in ("human", "vehicle")))
    return ClassTable("Cityscapes", tuple(entries))


CITYSCAPES_TABLE = _cityscapes()
"""All 34 labels of Cityscapes (cityscapesScripts, ``helpers/labels.py``)."""


def plain_table(num_classes: int) -> ClassTable:
    """Cityscapes' table for its number of classes; otherwise labels that are trainIds already, without names.

    Raises:
        InputError: not 1 to :data:`MAX_CLASSES` classes.
    """
    if num_classes == CITYSCAPES_TABLE.num_classes:
        return CITYSCAPES_TABLE
    if not 1 <= num_classes <= MAX_CLASSES:
        raise InputError(f"{num_classes} classes; 8-bit label maps hold 1 to {MAX_CLASSES}")
    names = class_names(num_classes)
    return ClassTable("", tuple(ClassEntry(i, names[i], _colour_of(i), i) for i in range(num_classes)))


def _colour_of(index: int) -> Colour:
    red, green, blue = (int(value) for value in PALETTE[index])
    return red, green, blue
