"""ICNets of other projects, each as its project published it.

A module per family. It has ``FAMILY`` and ``NAME``, what programs and what users call it; ``INPUT_SIZE``;
``matches(state)``, whether a state dict is of it, by keys and shapes; and ``build(state)``, the network with these
weights, in eval mode. In eval mode ``forward(x)`` is the published network's first output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType

import torch
from torch import nn

from converter.state_dict import OPTIONAL, mismatch, some

from ..icnet import ICNet
from . import liminn, mmseg, semseg

FAMILIES: Mapping[str, ModuleType] = MappingProxyType({each.FAMILY: each for each in (mmseg, liminn, semseg)})
"""The modules, by the family's name."""

NAMES: Mapping[str, str] = MappingProxyType({name: family.NAME for name, family in FAMILIES.items()})
"""What users call them."""


def family_of(state: Mapping[str, torch.Tensor]) -> ModuleType | None:
    """The family of a state dict, or None."""
    return next((family for family in FAMILIES.values() if family.matches(state)), None)


def build(state: Mapping[str, torch.Tensor], *, caffe_faithful: bool = False) -> nn.Module | None:
    """The network of a state dict of any family, in eval mode; None where it is of none.

    Args:
        state: by key.
        caffe_faithful: pytorch-semseg's network with Caffe's stride; see :class:`.semseg.SemSegICNet`.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree.
    """
    family = family_of(state)
    if family is None:
        return None
    options = {"caffe_faithful": True} if caffe_faithful and family.FAMILY == semseg.FAMILY else {}
    net: nn.Module = family.build(state, **options)
    return net


def describe_mismatch(state: Mapping[str, torch.Tensor]) -> str:
    """What a state dict has in common with the network that it shares most keys with, and what not; one line."""
    state = _without_counts(state)
    nets = ((name, _without_counts(net)) for name, net in _known())
    name, expected = max(nets, key=lambda known: len(state.keys() & known[1].keys()) / len(known[1]))
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


def _known() -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Every network by its name, with its state dict on ``meta``."""
    with torch.device("meta"):
        for merged in (True, False):
            yield "ICNet", ICNet(merged=merged).state_dict()
        for depth in liminn.DEPTHS:
            yield f"liminn's ICNet with ResNet-{depth}", liminn.LiminnICNet(depth=depth).state_dict()
        for depth in (18, 50, 101):
            yield f"mmsegmentation's ICNet with ResNet-{depth}", mmseg.MMSegICNet(depth).state_dict()
        for batch_norm in (True, False):
            yield "pytorch-semseg's ICNet", semseg.SemSegICNet(batch_norm=batch_norm).state_dict()


def _without_counts(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Without the counts that old files lack."""
    return {key: value for key, value in state.items() if not key.endswith(OPTIONAL)}
