"""A state dict into a network, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

from icnet_common.errors import WeightsError

Network = TypeVar("Network", bound=nn.Module)

_LISTED = 6


def load_strict(model: Network, state: Mapping[str, torch.Tensor], what: str) -> Network:
    """``model`` with copies of a state's values as float32, in eval mode.

    ``num_batches_tracked``, which old files lack and eval mode does not use, may be missing.

    Args:
        model: on any device, also ``meta``, where its memory is taken only after all shapes are known to agree; left
            on the processor.
        state: by key.
        what: of which network the weights should be, for messages.

    Raises:
        WeightsError: keys are missing or unknown, or shapes disagree.
    """
    expected = model.state_dict()
    counts = {key for key in expected if key.endswith("num_batches_tracked")}
    complaints = {
        "missing": sorted(set(expected) - set(state) - counts),
        "unknown": sorted(set(state) - set(expected)),
        "wrong shapes": [
            f"{key} {list(state[key].shape)}, expected {list(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
    }
    if any(complaints.values()):
        listed = "; ".join(f"{problem}: {_some(items)}" for problem, items in complaints.items() if items)
        raise WeightsError(f"not the weights of {what}: {listed}")
    model.to_empty(device="cpu")
    zero = torch.zeros((), dtype=torch.int64)
    model.load_state_dict({key: state.get(key, zero) for key in expected})
    return model.eval()


def _some(items: list[str]) -> str:
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")
