"""The bytes of a file that nobody vouches for."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

import numpy as np

from .errors import InputError

MAP_FROM = 16 << 20  # bytes; reading a larger file takes longer than walking it, and smaller ones are safer in memory:
# a mapped file that shrinks kills the process


def content_of(path: Path, error: type[InputError], limit: int | None = None) -> memoryview:
    """The bytes of ``path``, read-only: in memory, or mapped from 16 MB on.

    Args:
        path: a regular file; devices and pipes, which may never end, are refused.
        error: the type of error to raise.
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
