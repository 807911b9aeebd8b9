"""A folder for compiled code, the user's alone: what lies there is run."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from icnet_common.errors import InputError
from icnet_common.files import atomic_write


class Unavailable(InputError):
    """A backend cannot be used here; the message says why, without the backend's name."""


class Cache:
    """Files in a folder that belongs to the user and that nobody else can enter.

    Args:
        folder: default ``$XDG_CACHE_HOME/pytorch-icnet``, or ``~/.cache/pytorch-icnet``.

    Raises:
        InputError: the folder cannot be made, belongs to someone else, or is open to others.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # perhaps since a moment, by another process
                self.folder.mkdir(mode=0o700)
            found = self.folder.lstat()
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be made: {error.strerror or error}; "
                "let XDG_CACHE_HOME be a folder where you may write, for compiled code"
            ) from error
        if not stat.S_ISDIR(found.st_mode):
            raise InputError(f"{self.folder}: is no folder of its own, as a cache of compiled code must be")
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            raise InputError(
                f"{self.folder}: holds compiled code, so it must belong to you and be closed to others; "
                f"chmod 700 it if it is yours, or let XDG_CACHE_HOME be another folder"
            )

    def file(self, name: str) -> Path:
        """The path of a file in the folder, whether it exists or not."""
        return self.folder / name


@contextlib.contextmanager
def compiled_file(path: Path) -> Iterator[Path]:
    """:func:`icnet_common.files.atomic_write` for what a backend needs.

    Raises:
        Unavailable: it cannot be written; another backend may do without.
    """
    try:
        with atomic_write(path) as temporary:
            yield temporary
    except Unavailable:
        raise
    except InputError as error:
        raise Unavailable(f"{error}; let XDG_CACHE_HOME be a folder where you may write") from error


def default_folder() -> Path:
    """Where compiled code is kept if nothing else is said; a new folder where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "pytorch-icnet"
    except RuntimeError:
        return Path(tempfile.mkdtemp(prefix="pytorch-icnet-"))
