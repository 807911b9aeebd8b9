"""What a training of ICNet's variants starts from: a file of the whole network, or of its ResNet alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import nn

from converter.state_dict import some
from icnet_common.errors import InputError
from pytorch_icnet.card import card_of
from pytorch_icnet.variants.mmseg import ALIAS, BACKBONE

BACKBONES: Mapping[str, str] = MappingProxyType({"mmseg": BACKBONE, "liminn": "pretrained."})
"""Under which the keys of a network hold its ResNet, by the network's ``protocol``."""

CLASSIFIER = "fc."
"""How the keys begin of a ResNet's own classes, which a file of ImageNet's has and most networks lack."""


def load_into(net: nn.Module, state: Mapping[str, torch.Tensor], source: str) -> frozenset[str]:
    """Copy a file's values into a network.

    Heads for another number of classes are left out of it, and auxiliary heads may be missing in it. A file of the
    network's ResNet alone, such as those trained on ImageNet, gives that part.

    Args:
        net: has a card; changed in place.
        state: by key; ``num_batches_tracked`` may be missing.
        source: of the state, for messages.

    Returns:
        The keys that were copied.

    Raises:
        InputError: keys are missing or unknown, or shapes disagree.
    """
    expected = net.state_dict()
    given = _renamed(net, state, expected)
    copied, wrong = {}, []
    for key, value in given.items():
        if key not in expected:
            wrong.append(f"{key} is unknown")
        elif value.shape == expected[key].shape:
            copied[key] = value
        elif not _is_head(net, expected[key]) or value.shape[1:] != expected[key].shape[1:]:
            wrong.append(f"{key} is {list(value.shape)}, expected {list(expected[key].shape)}")
    prefix = "" if set(given) & set(state) else BACKBONES.get(card_of(net).protocol, "")
    wrong += [f"{key} is missing" for key in expected if key.startswith(prefix) and not _optional(key, given)]
    if wrong:
        raise InputError(f"{source}: not weights for this recipe's network: {some(wrong, 5)}")
    net.load_state_dict({**expected, **copied})
    return frozenset(copied)


def _renamed(
    net: nn.Module, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """A file's values under the network's keys."""
    if any(key in expected for key in state):
        return {
            key.replace(ALIAS, BACKBONE, 1) if key.startswith(ALIAS) else key: value for key, value in state.items()
        }
    prefix = BACKBONES.get(card_of(net).protocol, "")
    return {
        f"{prefix}{key}": value
        for key, value in state.items()
        if not key.startswith(CLASSIFIER) or f"{prefix}{key}" in expected
    }


def _is_head(net: nn.Module, value: torch.Tensor) -> bool:
    return value.dim() in (1, 4) and value.shape[0] == card_of(net).num_classes


def _optional(key: str, given: Mapping[str, torch.Tensor]) -> bool:
    if key in given or key.endswith("num_batches_tracked"):
        return True
    return key.startswith("auxiliary_head.") and not any(other.startswith("auxiliary_head.") for other in given)
