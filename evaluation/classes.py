"""The classes of a data set, see :mod:`pytorch_icnet.classes`."""

from pytorch_icnet.classes import (
    CITYSCAPES_TABLE,
    INSTANCES,
    MAX_CLASSES,
    ClassEntry,
    ClassTable,
    Colour,
    default_colour,
    plain_table,
)

__all__ = [
    "CITYSCAPES_TABLE",
    "INSTANCES",
    "MAX_CLASSES",
    "ClassEntry",
    "ClassTable",
    "Colour",
    "default_colour",
    "plain_table",
]
