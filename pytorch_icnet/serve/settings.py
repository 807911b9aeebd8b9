"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass

from ..imaging.recipes import OfficialRecipe
from ..predictor import Predictor

_PROBABILITIES = 1 << 30
"""Bytes that the probabilities of one image may take, with rules that need them all at once."""


@dataclass(frozen=True)
class ServerSettings:
    """The limits of a server; see ``icnet-serve --help``."""

    queue: int = 32
    """Requests that may wait."""
    batch: int = 4
    """Requests that are taken from the queue together."""
    max_pixels: int = 1 << 25
    """Of an image; it is refused before it is decoded."""
    max_bytes: int = 32 << 20
    """Of a request's body; reading stops there."""
    timeout: float = 30.0
    """Seconds for a request's body to arrive, and then again for its answer."""
    token: str | None = None
    """That requests must carry; None: none."""
    hosts: tuple[str, ...] | None = None
    """Names under which the server may be asked; None: any."""

    @property
    def max_memory(self) -> int:
        """Bytes of all bodies that may be on their way at once."""
        return max(4 * self.max_bytes, 256 << 20)


def pixels_for(predictor: Predictor, most: int) -> int:
    """How many pixels an image may have: ``most``, or fewer where the network's rule needs memory for every class."""
    if isinstance(predictor.recipe, OfficialRecipe):  # makes the label map a few rows at a time
        return most
    return min(most, _PROBABILITIES // (4 * predictor.num_classes))
