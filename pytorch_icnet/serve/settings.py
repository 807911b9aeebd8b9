"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
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
