"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}(?P<suffix>\.[^.]+)?")
"""What ``mkstemp`` makes of the prefix and suffix below."""


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in ``path``'s folder, which becomes ``path`` when the block ends without an error.

    The temporary file is flushed to the disk before the rename, and removed on any error (a full disk and Ctrl-C
    included), so readers see either the old file, or the new one, or none. Missing parent folders are made.
    The name keeps ``path``'s suffix, by which writers such as OpenCV choose the format.

    Raises:
        InputError: the folder cannot be made or written, or the disk is full; the message names ``path``.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        temporary.chmod(mode)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def stale_temporaries(folder: Path) -> Iterator[tuple[str, Path]]:
    """The temporary files that killed processes left in a folder, each after the name that it would have got."""
    for path in folder.glob(".*"):
        if (match := _TEMPORARY.fullmatch(path.name)) and path.is_file():
            yield match["stem"] + match["suffix"], path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
