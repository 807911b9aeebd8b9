"""Layers that feed a net: they become the arguments of ``forward``."""

from __future__ import annotations

INPUT_TYPES = frozenset(
    {
        "Input",
        "Data",
        "ImageData",
        "HDF5Data",
        "MemoryData",
        "WindowData",
        "AnnotatedData",
    }
)
"""Types without bottoms whose tops come from outside the net. DummyData is not one: its values are in the text."""
