"""The kernels as a shared library, compiled once on the user's own machine."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from ..cache import Cache, Unavailable, compiled_file

SOURCES = ("run.cpp", "program.hpp", "numbers.hpp", "products.hpp", "convolution.hpp", "pixels.hpp")
"""What the library is made from; the first file includes the others."""

FLAGS = (
    *("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-w"),
    *("-mfma", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
)

NEEDED = frozenset({"fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16", "amx_tile", "amx_bf16"})
"""What the kernels use, as /proc/cpuinfo calls it."""


@functools.cache
def processor_flags() -> frozenset[str]:
    """What the processor can do, in Linux's words; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def cpp_compiler() -> str | None:
    """The C++ compiler: ``$CXX``, or the first of the usual names."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def library(cache: Cache) -> ctypes.CDLL:
    """The kernels, from the cache or compiled into it.

    Raises:
        Unavailable: this machine has no tile unit (AMX), no C++ compiler, or one that is too old.
    """
    if missing := NEEDED - processor_flags():
        raise Unavailable(f"the processor lacks {', '.join(sorted(missing))}")
    texts = [(Path(__file__).parent / name).read_bytes() for name in SOURCES]
    key = hashlib.sha256(b"\0".join([*texts, " ".join(FLAGS).encode(), platform.machine().encode()])).hexdigest()
    path = cache.file(f"kernels-{key[:32]}.so")
    if not path.exists():
        _compile(path)
    return _loaded(path)


def _compile(path: Path) -> None:
    compiler = cpp_compiler()
    if compiler is None:
        raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
    source = Path(__file__).parent / SOURCES[0]
    with compiled_file(path) as temporary:
        done = subprocess.run([compiler, *FLAGS, str(source), "-o", str(temporary)], capture_output=True, text=True)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), f"exit {done.returncode}")
            raise Unavailable(f"{compiler} cannot compile the kernels: {first}")


@functools.cache
def _loaded(path: Path) -> ctypes.CDLL:
    kernels = ctypes.CDLL(str(path))
    if kernels.allow_tiles() != 0:
        raise Unavailable("Linux does not grant the tile registers")
    kernels.run.restype = None
    kernels.window_rows.restype = None
    return kernels
