"""The report of what does not fit, and loading whole or not at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from converter.state_dict import load_strict, mismatch
from icnet_common.errors import WeightsError


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def test_all_three_kinds_are_listed() -> None:
    state = dict(net().state_dict())
    state["own"] = state.pop("0.bias")
    state["1.weight"] = torch.zeros(4)
    found = mismatch(net().state_dict(), state)
    assert found
    assert str(found) == "missing: 0.bias; unknown: own; wrong shapes: 1.weight [4], expected [3]"
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"^a\.pth: missing: 0\.bias; unknown: own"):
        load_strict(model, state, "a.pth")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_counts_are_optional() -> None:
    state = {key: value for key, value in net().state_dict().items() if not key.endswith("num_batches_tracked")}
    assert not mismatch(net().state_dict(), state)
    assert str(mismatch(net().state_dict(), state, ())) == "missing: 1.num_batches_tracked"
    for device in ("cpu", "meta"):
        with torch.device(device):
            model = net()
        loaded = load_strict(model, state, "a.pth")
        assert not loaded.training
        assert loaded.state_dict()["1.num_batches_tracked"] == 0
        assert all(torch.equal(loaded.state_dict()[key], value) for key, value in state.items())


def test_many_keys_are_counted() -> None:
    found = mismatch({}, {f"{index:02}": torch.zeros(1) for index in range(25)})
    assert str(found).startswith("unknown: 00, 01, ") and str(found).endswith("19 and 5 more")
