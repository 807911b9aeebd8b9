"""numba's compiler, as the kernels here use it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, starmap
from typing import Any, TypeVar, cast

import numba
import torch

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")

_PARTS_PER_THREAD = 8


def compiled(function: Function) -> Function:
    """Compile when first called, release the interpreter's lock, keep the machine code for the next process.

    IEEE arithmetic as written: numba contracts no multiplication and addition into one and reorders nothing
    unless ``fastmath`` asks for it. The kept code is made anew when the function's file changes, not when another does:
    a kernel calls only what stands beside it, and constants that may change come as arguments.
    """
    try:
        return cast("Function", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return cast("Function", numba.njit(nogil=True)(function))


def in_parts(function: Callable[[int, int], Result], count: int) -> list[Result]:
    """``function(start, stop)`` for parts of range(count), on as many threads as PyTorch would use; in order.

    The threads are Python's and end with the call: numba's own are not safe to use from several threads at once,
    or after a fork.
    """
    threads = min(torch.get_num_threads(), count)
    parts = min(count, threads * _PARTS_PER_THREAD if threads > 1 else 1)
    bounds = list(pairwise(count * part // parts for part in range(parts + 1)))
    if threads == 1:
        return list(starmap(function, bounds))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda bound: function(*bound), bounds))
