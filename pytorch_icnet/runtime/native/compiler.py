"""The kernels as a shared library, compiled once on the user's own machine."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from ..cache import Cache, Unavailable, compiled_file

SOURCE = Path(__file__).parent / "run.cpp"
"""It includes the headers beside it."""

FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-w")


class NumberFormat(IntEnum):
    """How the kernels hold a number; the value is how many bfloat16 parts it is split into, see ``split.hpp``."""

    FLOAT32 = 0
    """Not split."""
    BFLOAT16 = 1
    SPLIT_FLOAT32 = 3


@dataclass(frozen=True)
class Instructions:
    """Instructions that the kernels can be compiled to.

    Attributes:
        needed: what the processor must have, as /proc/cpuinfo calls it.
        formats: of numbers, by precision.
    """

    name: str
    needed: frozenset[str]
    formats: Mapping[str, NumberFormat]

    def flags(self) -> list[str]:
        return sorted(f"-m{name.replace('_', '-' if name.startswith('amx') else '')}" for name in self.needed)

    def missing(self) -> list[str]:
        """What this processor lacks of them."""
        return sorted(self.needed - processor_flags())


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
_AMX = _AVX512 | {"avx512_bf16", "amx_tile", "amx_bf16"}

ALL_INSTRUCTIONS = (
    Instructions("AMX", _AMX, {"fp32": NumberFormat.SPLIT_FLOAT32, "bf16": NumberFormat.BFLOAT16}),
    Instructions("AVX-512", _AVX512, {"fp32": NumberFormat.FLOAT32}),
    Instructions("AVX2", _AVX2, {"fp32": NumberFormat.FLOAT32}),
)
"""From the fastest to the slowest."""


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


def instructions(precision: str) -> Instructions:
    """The fastest that this processor has for a precision.

    Raises:
        Unavailable: it has none.
    """
    fitting = [one for one in ALL_INSTRUCTIONS if precision in one.formats]
    if not fitting:
        raise Unavailable("it computes float32 and bfloat16, on the processor")
    for one in fitting:
        if not one.missing():
            return one
    raise Unavailable(f"the processor lacks {', '.join(fitting[-1].missing())}")


def library(cache: Cache, chosen: Instructions) -> ctypes.CDLL:
    """The kernels, from the cache or compiled into it.

    Raises:
        Unavailable: there is no C++ compiler, or one that is too old, or Linux withholds the tile unit.
    """
    texts = [path.read_bytes() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.hpp")))]
    options = " ".join([*FLAGS, *chosen.flags(), platform.machine()])
    key = hashlib.sha256(b"\0".join([*texts, options.encode()])).hexdigest()
    path = cache.file(f"kernels-{key[:32]}.so")
    if not path.exists():
        compile_kernels(path, chosen)
    return _loaded(path)


def compile_kernels(path: Path, chosen: Instructions) -> None:
    """Compile them to the file ``path``.

    Raises:
        Unavailable: there is no C++ compiler, or one that is too old.
    """
    compiler = cpp_compiler()
    if compiler is None:
        raise Unavailable("there is no C++ compiler (c++, g++ or clang++)")
    with compiled_file(path) as temporary:
        done = subprocess.run(
            [compiler, *FLAGS, *chosen.flags(), str(SOURCE), "-o", str(temporary)], capture_output=True, text=True
        )
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
    kernels.scratch.restype = ctypes.c_int64
    return kernels
