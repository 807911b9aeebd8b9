"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


@contextmanager
def atomic_folder(path: str | os.PathLike[str], replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``, which becomes ``path`` when the block ends without an error.

    Args:
        path: the folder to make. One that is there already is replaced.
        replaceable: whether an existing folder may be; anything else stays untouched.

    Raises:
        InputError: the folder cannot be written, or is there and must not be replaced.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not path.is_symlink() and replaceable(path)):
        raise InputError(f"{path}: is there already and is not of this kind; remove it or choose another name")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        made = temporary / path.name
        made.mkdir()
        yield made
        if path.exists():
            path.replace(temporary / "old")
        made.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
