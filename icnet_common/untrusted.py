"""The bytes of a file that nobody vouches for."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icnet_common.errors import InputError

MAP_FROM = 16 << 20  # bytes; reading a larger file takes longer than walking it, and smaller ones are safer in memory:
# a mapped file that shrinks kills the process


def read_untrusted(path: Path, error: type[InputError], limit: int | None = None) -> memoryview:
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
