"""Helpers on blob shapes that several families need."""

from __future__ import annotations

from ..errors import LayerError


def canonical_axis(axis: int, dims: int) -> int:
    """``axis`` counted from the front (``Blob::CanonicalAxisIndex``).

    Raises:
        LayerError: out of range.
    """
    if not -dims <= axis < dims:
        raise LayerError(f"axis {axis} is out of range for a {dims}-D blob")
    return axis % dims if dims else 0
