"""Tables of classes: which of a data set's ids are scored, as which trainId, under which name and colour.

Cityscapes' ids, names and colours are those of its label table (github.com/mcordts/cityscapesScripts); the rest of the
palette is PASCAL VOC's colour map, as in the official evaluation's ``colormapcs``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icnet_common.errors import InputError

from ..arrays import Bytes

Colour = tuple[int, int, int]

IGNORED = 255
"""The trainId of pixels that belong to no class that is trained or scored."""

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


CITYSCAPES_TABLE = ClassTable(
    "Cityscapes",
    (
        ClassEntry(0, "unlabeled", (0, 0, 0), None, "void"),
        ClassEntry(1, "ego vehicle", (0, 0, 0), None, "void"),
        ClassEntry(2, "rectification border", (0, 0, 0), None, "void"),
        ClassEntry(3, "out of roi", (0, 0, 0), None, "void"),
        ClassEntry(4, "static", (0, 0, 0), None, "void"),
        ClassEntry(5, "dynamic", (111, 74, 0), None, "void"),
        ClassEntry(6, "ground", (81, 0, 81), None, "void"),
        ClassEntry(7, "road", (128, 64, 128), 0, "flat"),
        ClassEntry(8, "sidewalk", (244, 35, 232), 1, "flat"),
        ClassEntry(9, "parking", (250, 170, 160), None, "flat"),
        ClassEntry(10, "rail track", (230, 150, 140), None, "flat"),
        ClassEntry(11, "building", (70, 70, 70), 2, "construction"),
        ClassEntry(12, "wall", (102, 102, 156), 3, "construction"),
        ClassEntry(13, "fence", (190, 153, 153), 4, "construction"),
        ClassEntry(14, "guard rail", (180, 165, 180), None, "construction"),
        ClassEntry(15, "bridge", (150, 100, 100), None, "construction"),
        ClassEntry(16, "tunnel", (150, 120, 90), None, "construction"),
        ClassEntry(17, "pole", (153, 153, 153), 5, "object"),
        ClassEntry(18, "polegroup", (153, 153, 153), None, "object"),
        ClassEntry(19, "traffic light", (250, 170, 30), 6, "object"),
        ClassEntry(20, "traffic sign", (220, 220, 0), 7, "object"),
        ClassEntry(21, "vegetation", (107, 142, 35), 8, "nature"),
        ClassEntry(22, "terrain", (152, 251, 152), 9, "nature"),
        ClassEntry(23, "sky", (70, 130, 180), 10, "sky"),
        ClassEntry(24, "person", (220, 20, 60), 11, "human", has_instances=True),
        ClassEntry(25, "rider", (255, 0, 0), 12, "human", has_instances=True),
        ClassEntry(26, "car", (0, 0, 142), 13, "vehicle", has_instances=True),
        ClassEntry(27, "truck", (0, 0, 70), 14, "vehicle", has_instances=True),
        ClassEntry(28, "bus", (0, 60, 100), 15, "vehicle", has_instances=True),
        ClassEntry(29, "caravan", (0, 0, 90), None, "vehicle", has_instances=True),
        ClassEntry(30, "trailer", (0, 0, 110), None, "vehicle", has_instances=True),
        ClassEntry(31, "train", (0, 80, 100), 16, "vehicle", has_instances=True),
        ClassEntry(32, "motorcycle", (0, 0, 230), 17, "vehicle", has_instances=True),
        ClassEntry(33, "bicycle", (119, 11, 32), 18, "vehicle", has_instances=True),
    ),
    without_id=("license plate",),
)
"""All 34 labels of Cityscapes (cityscapesScripts, ``helpers/labels.py``)."""

CITYSCAPES = CITYSCAPES_TABLE.scored
"""Its 19 classes that are trained and scored; a class's trainId is its place."""


def voc_colours(count: int = 256) -> Bytes:
    """PASCAL VOC's colour map, uint8 count x 3: bit 3j + c of the index becomes bit 7 - j of channel c."""
    index = np.arange(count)[:, None]
    channel = np.arange(3)
    colours = np.zeros((count, 3), np.int64)
    for j in range(8):
        colours |= ((index >> (3 * j + channel)) & 1) << (7 - j)
    return colours.astype(np.uint8)


PALETTE = voc_colours()
"""uint8 256x3, red green blue, read-only: Cityscapes' 19 colours, PASCAL VOC's at the same index for 19 to 254,
and black."""
PALETTE[: len(CITYSCAPES)] = [entry.colour for entry in CITYSCAPES]
PALETTE[IGNORED] = 0
PALETTE.setflags(write=False)


def default_colour(index: int) -> Colour:
    """The palette's."""
    red, green, blue = (int(value) for value in PALETTE[index])
    return red, green, blue


def class_names(num_classes: int) -> tuple[str, ...]:
    """Cityscapes' names for its 19 classes; "class 0", "class 1", ... for any other number."""
    if num_classes == len(CITYSCAPES):
        return CITYSCAPES_TABLE.names
    return tuple(f"class {index}" for index in range(num_classes))


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
