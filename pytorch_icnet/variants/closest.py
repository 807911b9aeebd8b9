"""Which network a state dict that fits none comes closest to, and what is between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from converter.state_dict import OPTIONAL, mismatch, some

from ..icnet import ICNet
from .liminn import DEPTHS, LiminnICNet
from .mmseg import MMSegICNet
from .semseg import SemSegICNet

State = Mapping[str, torch.Tensor]


def describe_mismatch(state: State) -> str:
    """What a state dict has in common with the network that it shares most keys with, and what not; one line."""
    state = _without_counts(state)
    name, expected = max(_known(), key=lambda known: len(state.keys() & known[1].keys()) / len(known[1]))
    found = mismatch(expected, state)
    parts = {
        "missing": [f"{key} {shape}" for key, shape in found.missing.items()],
        "unknown": [f"{key} {shape}" for key, shape in found.unknown.items()],
        "of other shapes": [f"{key} {shape} for {wanted}" for key, (shape, wanted) in found.shapes.items()],
    }
    if len(found.missing) == len(expected):
        return f"no network known here: none has any of its {len(state)} keys ({some(parts['unknown'], 3)})"
    fitting = len(expected) - len(found.missing) - len(found.shapes)
    listed = "; ".join(f"{len(items)} {what}: {some(items, 3)}" for what, items in parts.items() if items)
    return f"no network known here; closest is {name}: {fitting} of its {len(expected)} keys fit; {listed}"


def _known() -> Iterator[tuple[str, State]]:
    """Every network by its name, with its state dict on ``meta``; without the counts that old files lack."""
    with torch.device("meta"):
        for merged in (True, False):
            yield "ICNet", _state(ICNet(merged=merged))
        for depth in DEPTHS:
            yield f"liminn's ICNet with ResNet-{depth}", _state(LiminnICNet(depth=depth))
        for depth in (18, 50, 101):
            yield f"mmsegmentation's ICNet with ResNet-{depth}", _state(MMSegICNet(depth))
        for batch_norm in (True, False):
            yield "pytorch-semseg's ICNet", _state(SemSegICNet(batch_norm=batch_norm))


def _state(model: torch.nn.Module) -> State:
    return _without_counts(model.state_dict())


def _without_counts(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith(OPTIONAL)}
