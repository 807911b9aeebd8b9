"""Files: written whole or not at all, JSON, digests, bytes that nobody vouches for, and errors that name the file."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

MAP_FROM = 16 << 20  # bytes; reading a larger file takes longer than walking it, and smaller ones are safer in memory:
# a mapped file that shrinks kills the process

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


def read_untrusted(path: Path, error: type[InputError], limit: int | None = None) -> memoryview:
    """The bytes of ``path``, read-only: in memory, or mapped from 16 MB on.

    Args:
        path: a regular file; devices and pipes, which may never end, are refused.
        limit: refuse files of more bytes.

    Raises:
        error: the file cannot be read or is too large; the message begins with its name.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{path}: is no file" + (" but a folder" if stat.S_ISDIR(status.st_mode) else ""))
        if limit is not None and status.st_size > limit:
            raise error(f"{path}: has {status.st_size} bytes, more than the {limit} that such a file may have")
        with path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size >= MAP_FROM:
                return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ))
            content = np.empty(size, np.uint8)
            filled = 0
            while filled < size and (count := stream.readinto(content.data[filled:])):
                filled += count
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # a NUL in the path
        raise problem if isinstance(problem, InputError) else error(f"{path!s}: cannot be read: {problem}") from problem
    content.flags.writeable = False
    return content.data[:filled]


def release(array: NDArray[Any]) -> None:
    """Let go of the memory behind ``array`` where it is a view of a mapped file; touching it reads the file again.

    Whoever copies large weights one after another so never holds the file and all the copies at once.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    mapped = owner.obj if isinstance(owner, memoryview) else owner
    if not isinstance(mapped, mmap.mmap) or not array.flags.c_contiguous or not hasattr(mapped, "madvise"):
        return
    offset = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data
    first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (offset + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - first
    if length > 0:
        mapped.madvise(mmap.MADV_DONTNEED, first, length)
