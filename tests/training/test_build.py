"""What a training starts from: new nets, files, other classes; groups of parameters, frozen layers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from icnet_common.errors import InputError
from pytorch_icnet import ICNet
from training import build
from training.recipes.recipe import ModelSection, OptimizerSection, Recipe, read_recipe

DEMO = Path(__file__).parents[2] / "demo" / "icnet_demo.caffemodel"
RECIPE = Recipe(model=ModelSection(width=0.1))


def test_a_new_net_is_seeded() -> None:
    states = [build.start(RECIPE, 5).model.state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert states[0]["conv6_sub4.weight"].shape[0] == 5


def test_weights_with_their_heads_are_kept_whole() -> None:
    begin = build.start(RECIPE, 19, DEMO)
    again = build.start(dataclasses.replace(RECIPE, train=read_recipe("demo").train), 19, DEMO)
    assert begin.new == () and set(build.HEADS) <= set(begin.loaded)
    for key, value in begin.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


def test_other_classes_make_new_heads_and_keep_the_rest() -> None:
    kept, begin = build.start(RECIPE, 19, DEMO).model.state_dict(), build.start(RECIPE, 4, DEMO)
    assert set(begin.new) == set(build.HEADS)
    for key, value in begin.model.state_dict().items():
        if key.split(".")[0] in build.HEADS:
            assert value.shape[0] == 4
        else:
            assert torch.equal(value, kept[key])
    table = begin.table().splitlines()
    assert table[0].split() == ["layers", "loaded", "new"]
    assert ["conv6_cls", "0", "1"] in [line.split() for line in table]


def test_networks_of_the_relatives_have_one_width() -> None:
    with pytest.raises(InputError, match="liminn has one width alone"):
        build.start(read_recipe("liminn", ["model.width=0.5"]), 19)


def test_frozen_layers_stay() -> None:
    model = build.start(RECIPE, 5).model
    build.freeze(model, ["conv1_1"])
    build.set_train(model, "train", ["conv1_1"])
    assert not model.get_submodule("conv1_1_3x3_s2").weight.requires_grad
    assert not model.get_submodule("conv1_1_3x3_s2/bn").training
    assert model.get_submodule("conv1_2_3x3/bn").training
    with pytest.raises(InputError, match="begins with 'convolution'"):
        build.freeze(model, ["convolution"])
    build.set_train(model, "frozen", [])
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def groups_of(
    model: nn.Module, optimizer: OptimizerSection, new: tuple[str, ...] = ()
) -> dict[tuple[float, float], int]:
    groups = build.parameter_groups(model, dataclasses.replace(RECIPE, optimizer=optimizer), new)
    found = {}
    for group in groups:
        parameters = group["params"]
        assert isinstance(parameters, list) and isinstance(group["lr"], float)
        assert isinstance(group["weight_decay"], float)
        found[group["lr"], group["weight_decay"]] = sum(p.numel() for p in parameters)
    return found


def test_parameter_groups() -> None:
    model = build.start(RECIPE, 5).model
    total = sum(p.numel() for p in model.parameters())
    heads = sum(p.numel() for name in build.HEADS for p in model.get_submodule(name).parameters())
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    assert groups_of(model, OptimizerSection()) == {(0.01, 1e-4): total}
    ten = groups_of(model, OptimizerSection(new_lr_factor=10.0), build.HEADS)
    assert ten == {(0.01, 1e-4): total - heads, (0.1, 1e-4): heads}
    assert groups_of(model, OptimizerSection(decay_norms=False)) == {
        (0.01, 1e-4): weights,
        (0.01, 0.0): total - weights,
    }


def test_merged_weights_learn_biases(tmp_path: Path) -> None:
    path = tmp_path / "merged.pt"
    torch.save(ICNet(19, width=0.1, aux=True).state_dict(), path)
    begin = build.start(RECIPE, 3, path)
    assert begin.model.merged and begin.model.get_submodule("conv1_1_3x3_s2").bias.requires_grad
