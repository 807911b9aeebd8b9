"""ICNets of other projects, each as its project published it.

A module per family. It has ``FAMILY``, its name; ``INPUT_SIZE``; ``matches(state)``, whether a state dict is of it, by
keys and shapes; and ``build(state)``, the network with these weights, in eval mode. In eval mode ``forward(x)`` is the
published network's first output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from . import liminn, mmseg, semseg


@dataclass(frozen=True)
class Family:
    """What one of the modules offers; see above."""

    FAMILY: str
    INPUT_SIZE: tuple[int, int]
    matches: Callable[[Mapping[str, torch.Tensor]], bool]
    build: Callable[..., nn.Module]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        module.FAMILY: Family(module.FAMILY, module.INPUT_SIZE, module.matches, module.build)
        for module in (mmseg, liminn, semseg)
    }
)
"""By name."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        mmseg.FAMILY: "mmsegmentation's ICNet",
        liminn.FAMILY: "liminn's ICNet",
        semseg.FAMILY: "pytorch-semseg's or Supervisely's ICNet",
    }
)
"""What users call them."""


def family_of(state: Mapping[str, torch.Tensor]) -> Family | None:
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
    return family.build(state, **options)
