"""How the process holds its memory."""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""As in glibc's malloc.h."""

_RESERVE = 1 << 30
"""Bytes of the heap that may lie in huge pages; address space only, until something is written there."""


@functools.cache
def keep_memory() -> None:
    """Let the process keep what it frees, as long as it runs, and in huge pages, where the C library is GNU's.

    glibc returns large blocks to Linux on every free; the next pass gets them back page by page, zeroed. On the
    activations of a large image that costs more than a tenth of the time, and addressing them by small pages another
    tenth. So all of malloc's memory comes from its own heap, of which nothing is given back.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if not (hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")):
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        _allow_huge_pages(library)


def _allow_huge_pages(library: ctypes.CDLL) -> None:
    """Take a block from the heap's end, mark it, and give it back: what is allocated later lies in it."""
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = library.malloc(_RESERVE)
    if block is None:  # no such address space; small pages do as well
        return
    start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (block + _RESERVE) // mmap.PAGESIZE * mmap.PAGESIZE
    library.madvise(start, end - start, mmap.MADV_HUGEPAGE)
    library.free(block)
