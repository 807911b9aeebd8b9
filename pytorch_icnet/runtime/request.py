"""What is asked of a backend, and the network in the form that all of them take."""

from __future__ import annotations

import copy
import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from ..arrays import Size
from ..card import QUARTER, ModelCard
from .cache import Cache
from .devices import PRECISIONS

Run = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, 3, H, W) float32 on the device to scores (N, classes, h, w) float32 there; N is the batch."""


@dataclass(frozen=True)
class Request:
    """What is to be run.

    Attributes:
        module: the network, in eval mode, rewritten or not.
        card: of the network.
        size: (height, width) of the images.
        batch: images in a call; 1 on the processor, where images run one after the other.
        threads: of the processor.
        cache: where compiled code is kept.
        rewrite: the network may be computed in any form that is the same in exact arithmetic.
    """

    module: nn.Module
    card: ModelCard
    device: torch.device
    precision: str
    size: Size
    batch: int
    threads: int
    cache: Cache
    rewrite: bool = True

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]

    def example(self) -> torch.Tensor:
        """An input of the right form: zeros."""
        return torch.zeros(self.batch, 3, *self.size, device=self.device)

    def scores(self) -> ScoresModule:
        """The network in ``dtype`` on the device, with its weights laid out channels last."""
        module = ScoresModule(self.module, self.dtype, quarter=self.card.stride == QUARTER)
        module.to(self.device, self.dtype).eval().requires_grad_(False)
        for parameter in module.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return module

    def key(self, *more: object) -> str:
        """A name for what is compiled of this request: the same for the same network, size, arithmetic and machine."""
        asked = (self.card.stride, self.device, self.precision, self.size, self.batch)
        parts = (digest(self.module), *asked, torch.__version__, *more)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class ScoresModule(nn.Module):
    """A network's scores, at a quarter of the resolution where it offers them, from float32 to float32."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, *, quarter: bool) -> None:
        super().__init__()
        self.module, self.dtype, self.quarter = copied(module), dtype, quarter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float32 to (N, classes, h, w) float32, contiguous."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        return scores_of(self.module, x, quarter=self.quarter).float().contiguous()


def scores_of(module: nn.Module, x: torch.Tensor, *, quarter: bool) -> torch.Tensor:
    """``module(x)``, or its scores at a quarter of the resolution."""
    forward: Any = module.quarter_scores if quarter else module
    scores: torch.Tensor = forward(x)
    return scores


def copied(module: nn.Module) -> nn.Module:
    """A copy whose tensors can be replaced without touching those of ``module``; until then they are shared."""
    tensors = [*module.parameters(), *module.buffers()]
    shared = {id(tensor): nn.Parameter(tensor.detach(), requires_grad=False) for tensor in module.parameters()}
    memo: dict[int, object] = {id(tensor): shared.get(id(tensor), tensor) for tensor in tensors}
    return copy.deepcopy(module, memo)


def digest(module: nn.Module) -> str:
    """A sum over a network: its weights, its structure, and the source code of its layers, torch's own excepted."""
    total = hashlib.sha256(repr((type(module).__qualname__, module)).encode())
    if isinstance(module, fx.GraphModule):
        total.update(module.code.encode())
    for name, tensor in module.state_dict().items():
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for file in sorted(_sources(module)):
        total.update(file.read_bytes())
    return total.hexdigest()


def _sources(module: nn.Module) -> set[Path]:
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    owners = {kind.__module__ for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")}
    files = [
        inspect.getsourcefile(sys.modules[name]) for name in owners if getattr(sys.modules.get(name), "__file__", None)
    ]
    return {Path(file) for file in files if file} | set(Path(__file__).parent.glob("*.py"))
