"""Which network a state dict that fits none comes closest to, and what is between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ..icnet import ICNet
from .liminn import DEPTHS, LiminnICNet
from .mmseg import MMSegICNet
from .semseg import SemSegICNet

_SHOWN = 3

Shapes = Mapping[str, tuple[int, ...]]


def describe_mismatch(state: Mapping[str, torch.Tensor]) -> str:
    """What a state dict has in common with the network that it shares most keys with, and what not; one line."""
    found = _counted(state)
    name, expected = max(_known(), key=lambda known: len(found.keys() & known[1].keys()) / len(known[1]))
    fitting = [key for key, shape in expected.items() if found.get(key) == shape]
    missing = [f"{key} {list(shape)}" for key, shape in expected.items() if key not in found]
    unknown = [f"{key} {list(shape)}" for key, shape in found.items() if key not in expected]
    others = [
        f"{key} {list(found[key])} for {list(shape)}"
        for key, shape in expected.items()
        if found.get(key, shape) != shape
    ]
    if len(fitting) + len(others) == 0:
        return f"no network known here: none has any of its {len(found)} keys ({_some(unknown)})"
    parts = {"missing": missing, "unknown": unknown, "of other shapes": others}
    listed = "; ".join(f"{len(items)} {what}: {_some(items)}" for what, items in parts.items() if items)
    return f"no network known here; closest is {name}: {len(fitting)} of its {len(expected)} keys fit; {listed}"


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")


def _known() -> Iterator[tuple[str, Shapes]]:
    """Every network by its name, with shapes by key; without the counts that old files lack."""
    with torch.device("meta"):
        for merged in (True, False):
            yield "ICNet", _shapes(ICNet(merged=merged))
        for depth in DEPTHS:
            yield f"liminn's ICNet with ResNet-{depth}", _shapes(LiminnICNet(depth=depth))
        for depth in (18, 50, 101):
            yield f"mmsegmentation's ICNet with ResNet-{depth}", _shapes(MMSegICNet(depth))
        for batch_norm in (True, False):
            yield "pytorch-semseg's ICNet", _shapes(SemSegICNet(batch_norm=batch_norm))


def _shapes(model: torch.nn.Module) -> Shapes:
    return _counted(model.state_dict())


def _counted(state: Mapping[str, torch.Tensor]) -> Shapes:
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
