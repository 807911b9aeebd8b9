"""Layers that feed a net: they become the arguments of ``forward``."""

from __future__ import annotations

from prototxt.read import DATA_TYPES

INPUT_TYPES = DATA_TYPES | {"Input"}
"""Types without bottoms whose tops come from outside the net. DummyData is not one: its values are in the text."""
