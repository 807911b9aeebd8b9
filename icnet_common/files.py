"""Files and folders that appear whole or not at all, JSON files, digests, and errors that name the file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError

_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}(?P<suffix>\.[^.]+)?")
"""What ``mkstemp`` makes of the prefix and suffix below."""


@contextmanager
def reading(path: str | os.PathLike[str], error: type[InputError] = InputError) -> Iterator[None]:
    """Turn an OSError of the block into ``error``, whose message begins with ``path`` and says what is wrong."""
    try:
        yield
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from problem


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into an InputError, whose message begins with ``path`` and says what is wrong."""
    try:
        yield
    except OSError as problem:
        raise InputError(f"{path}: cannot be written: {problem.strerror or problem}") from problem


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
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def stale_temporaries(folder: Path) -> Iterator[tuple[str, Path]]:
    """The temporary files that killed processes left in a folder, each after the name that it would have got."""
    for path in folder.glob(".*"):
        if (match := _TEMPORARY.fullmatch(path.name)) and path.is_file():
            yield match["stem"] + match["suffix"], path


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
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            made = temporary / path.name
            made.mkdir()
            yield made
            if path.exists():
                path.replace(temporary / "old")
            made.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], data: Any, **options: Any) -> None:
    """Write a JSON file whole or not at all; numbers that are not finite become null.

    Args:
        data: of mappings, lists, tuples, texts, numbers, booleans and None.
        options: of :func:`json.dumps`; two spaces of indent unless they say otherwise.

    Raises:
        InputError: see :func:`atomic_write`.
    """
    text = json.dumps(_finite(data), allow_nan=False, **{"indent": 2, **options})
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digests(path: str | os.PathLike[str], *algorithms: str) -> list[str]:
    """The digests of a file, hexadecimal, from reading it once; ``algorithms`` are names as for :func:`hashlib.new`.

    Raises OSError where it cannot be read.
    """
    found = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            for each in found:
                each.update(chunk)
    return [each.hexdigest() for each in found]


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal; raises OSError where it cannot be read."""
    return digests(path, "sha256")[0]
