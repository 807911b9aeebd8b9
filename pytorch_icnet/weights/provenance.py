"""Where weights come from."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icnet_common.files import digests

from .known import by_md5


@dataclass(frozen=True)
class Provenance:
    """A file of weights and its sums.

    Attributes:
        file: name of the original file, without folders.
        md5, sha256: of the original file, hexadecimal.
        known: name of the published file with this md5, or None.
    """

    file: str
    md5: str
    sha256: str
    known: str | None

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Provenance:
        """Read a file once and take its sums."""
        md5, sha256 = digests(path, "md5", "sha256")
        known = by_md5(md5)
        return cls(Path(path).name, md5, sha256, known.file if known else None)

    @classmethod
    def from_data(cls, data: Any) -> Provenance:
        """What :meth:`as_data` gave.

        Raises:
            ValueError: anything else.
        """
        keys = ("file", "md5", "sha256", "known")
        if not isinstance(data, dict) or {*data} != {*keys}:
            raise ValueError(f"a provenance has {', '.join(keys)}")
        if not all(isinstance(data[key], str) or (key == "known" and data[key] is None) for key in keys):
            raise ValueError("a provenance holds texts")
        return cls(**data)

    def as_data(self) -> dict[str, str | None]:
        """For JSON."""
        return dataclasses.asdict(self)
