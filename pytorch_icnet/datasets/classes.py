"""Tables of classes: which of a data set's ids are scored, as which trainId, under which name and colour."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icnet_common.errors import InputError

from ..arrays import Bytes
from .palette import CITYSCAPES, IGNORED, PALETTE, class_names

Colour = tuple[int, int, int]

MAX_CLASSES = 254
"""8-bit label maps hold so many besides 254 and 255, which the official evaluation ignores."""

INSTANCES = 1000
"""In files of instance ids, a label id times this, plus the instance's number; what is smaller is a label id."""


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
    without_id: tuple[str, ...] = ()
    """Names in annotations that are not drawn."""
    from_file: bool = False
    """Whether somebody wrote it for a data set of their own, whose labels then hold its ids."""

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

    def train_ids(self, label_ids: Bytes, path: str | os.PathLike[str]) -> Bytes:
        """TrainIds of label ids, uint8 HxW, that ``path`` holds.

        Raises:
            InputError: an id is unknown.
        """
        unknown = [value for value in _values(label_ids) if value not in self.by_label_id]
        if unknown:
            hint = "; are these trainIds?" if unknown == [IGNORED] else ""
            raise InputError(f"{path}: holds {_listed(unknown)}, no id of {self.name or 'the table'}{hint}")
        return self.to_train_id[label_ids]

    def check_train_ids(self, labels: Bytes, path: str | os.PathLike[str]) -> None:
        """Raise InputError where ``labels``, uint8 HxW, that ``path`` holds, cannot be trainIds of this table.

        Beside the classes, 254 and 255 are ignored. Anything else is labels in another form, or of another data set.
        """
        stray = [value for value in _values(labels) if self.num_classes <= value <= MAX_CLASSES - 1]
        if not stray:
            return
        expected = f"expected trainIds: 0 to {self.num_classes - 1}, and {IGNORED} for what is ignored"
        if self.looks_like_label_ids(labels):
            raise InputError(
                f"{path}: holds labelIds (up to {stray[-1]}, none ignored), {expected}; "
                "use the *_labelTrainIds.png files, or --label-kind labelIds"
            )
        if stray == [self.num_classes] and IGNORED not in labels:
            raise InputError(
                f"{path}: holds 0 to {stray[-1]}, as if 0 were what is ignored, {expected}; "
                "give a table of classes that says so, --classes FILE"
            )
        raise InputError(f"{path}: holds {_listed(stray)}, {expected}")

    def looks_like_label_ids(self, labels: Bytes) -> bool:
        """Whether ``labels`` hold the table's own ids: some that are no trainIds, and none that are unknown."""
        values = _values(labels)
        return values[-1] >= self.num_classes and self.by_label_id.keys() >= set(values)

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
    return ClassTable("Cityscapes", tuple(entries), without_id=("license plate",))


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
    return ClassTable("", tuple(ClassEntry(i, names[i], default_colour(i), i) for i in range(num_classes)))


def _values(labels: Bytes) -> list[int]:
    """The values that occur, ascending."""
    return [int(value) for value in np.flatnonzero(np.bincount(labels.ravel(), minlength=256))]


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def default_colour(index: int) -> Colour:
    """The palette's."""
    red, green, blue = (int(value) for value in PALETTE[index])
    return red, green, blue
