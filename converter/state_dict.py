"""A state dict into a network, whole or not at all, and the report of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from icnet_common.errors import WeightsError

Network = TypeVar("Network", bound=nn.Module)

OPTIONAL = ("num_batches_tracked",)
"""Ends of keys that old files lack and eval mode does not use."""


@dataclass(frozen=True)
class StateDictMismatch:
    """What a state dict has too little, too much or in another shape; true where it is anything."""

    missing: Mapping[str, list[int]]
    """Expected shapes by key."""

    unknown: Mapping[str, list[int]]
    """Shapes by key."""

    shapes: Mapping[str, tuple[list[int], list[int]]]
    """The shape of the state dict and the expected one, by key."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.shapes)

    def __str__(self) -> str:
        shapes = [f"{key} {found}, expected {expected}" for key, (found, expected) in self.shapes.items()]
        parts = {"missing": sorted(self.missing), "unknown": sorted(self.unknown), "wrong shapes": shapes}
        return "; ".join(f"{problem}: {some(items, 20)}" for problem, items in parts.items() if items)


def mismatch(
    expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], optional: Sequence[str] = OPTIONAL
) -> StateDictMismatch:
    """Compare the keys and shapes of two state dicts, on any devices.

    Args:
        expected: a network's.
        state: a file's.
        optional: ends of keys that may be missing.
    """
    ends = tuple(optional)
    return StateDictMismatch(
        {key: [*value.shape] for key, value in expected.items() if key not in state and not key.endswith(ends)},
        {key: [*value.shape] for key, value in state.items() if key not in expected},
        {
            key: ([*state[key].shape], [*value.shape])
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        },
    )


def load_strict(
    model: Network, state: Mapping[str, torch.Tensor], complaint: str, optional: Sequence[str] = OPTIONAL
) -> Network:
    """``model`` with copies of a state's values, in its own dtypes and in eval mode.

    Args:
        model: on any device. One on ``meta`` takes its memory, on the processor, only after all shapes are known to
            agree.
        state: by key.
        complaint: how the message begins if it does not fit, such as ``"not the weights of an ICNet"``.
        optional: ends of keys that may be missing; the model's values stay, or are zero where it had none.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree; lists all three.
    """
    expected = model.state_dict()
    if found := mismatch(expected, state, optional):
        raise WeightsError(f"{complaint}: {found}")
    own = {key: value for key, value in expected.items() if key not in state}
    if any(value.is_meta for value in expected.values()):
        model.to_empty(device="cpu")
        own = {key: torch.zeros_like(value, device="cpu") for key, value in own.items()}
    model.load_state_dict({**own, **state})
    return model.eval()


def some(items: Sequence[str], shown: int) -> str:
    """The first of many, with commas, and how many more there are."""
    more = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {more} more" if more > 0 else "")
