"""How much there is to compute and to move, and how fast this machine can do either."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..card import QUARTER, card_of
from .devices import PRECISIONS, arithmetic
from .request import scores_of

_ROUNDS = 5


@dataclass(frozen=True)
class FlopAndBytes:
    """What a pass takes, or what a machine does in a second.

    Attributes:
        flop: multiplications and additions.
        bytes: read and written.
    """

    flop: float
    bytes: float


def work(module: nn.Module, shape: Sequence[int], precision: str = "fp32") -> FlopAndBytes:
    """What a pass of ``module`` on images of ``shape`` (N, 3, H, W) takes, from the shapes alone.

    Convolutions and matrix products count: their bottoms, weights and tops are moved once each.
    """
    with torch.no_grad(), _Counter() as counter:
        on_paper = copy.deepcopy(module).to("meta")
        x = torch.empty(tuple(shape), device="meta", dtype=next(on_paper.parameters()).dtype)
        counter.clear()
        scores_of(on_paper, x, quarter=card_of(module).stride == QUARTER)
    return FlopAndBytes(counter.flop, counter.numbers * PRECISIONS[precision].itemsize)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what goes through convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clear()

    def clear(self) -> None:
        self.flop = self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "convolution":
            x, weight = args[:2]
            places = result if not args[6] else x  # transposed: each input pixel meets all the weights
            self._add(places.numel() * weight.numel() // weight.shape[0], x, weight, result)
        elif name in ("mm", "bmm", "addmm"):
            x, weight = args[-2:]
            self._add(result.numel() * x.shape[-1], x, weight, result)
        return result

    def _add(self, products: int, *tensors: torch.Tensor) -> None:
        self.flop += 2 * products
        self.numbers += sum(tensor.numel() for tensor in tensors)


def ceilings(device: torch.device, precision: str) -> FlopAndBytes:
    """What the machine reaches per second where nothing else limits it.

    They are measured with as many threads as torch uses, which takes a second or two: the operations of a product of
    two square matrices, and the bytes of a copy.
    """
    side = 8192 if device.type == "cuda" else 2048
    dtype = PRECISIONS[precision]
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.rand(1 << 25, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode(), arithmetic(precision):
        product = best_time(lambda: torch.mm(a, b), device)
        moved = best_time(lambda: target.copy_(source), device)
    return FlopAndBytes(2 * side**3 / product, 2 * source.nbytes / moved)


def best_time(call: Callable[[], object], device: torch.device) -> float:
    """The shortest of a few runs after one that does not count, in seconds."""
    times = []
    for _ in range(_ROUNDS + 1):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
