"""Compression: which filters go, what hangs on them, and that what is left is an ICNet in every form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from converter import load_caffe
from icnet_common.errors import InputError
from prototxt import read_net
from pytorch_icnet import ICNet, icnet
from pytorch_icnet.icnet import folded
from training.build import HEADS, Start, initialize
from training.data import source_of
from training.job import pruning_steps, train, trained_network
from training.loop import Trainer
from training.prune import kept_channels, pruned, shared_channels, step_rates
from training.recipes.recipe import recipe_of
from training.scenes import write_scenes
from training.to_caffe import write_caffe_models

SIZE = (65, 97)


@pytest.fixture()
def model() -> ICNet:
    """With statistics of its own, so that no layer's batch normalisation is the identity."""
    torch.manual_seed(2)
    net = ICNet(4, merged=False, width=0.2, aux=True).double()
    initialize(net)
    generator = torch.Generator().manual_seed(3)
    for norm in (child for child in net.children() if isinstance(child, nn.BatchNorm2d)):
        for values, low in ((norm.weight, 0.5), (norm.bias, -0.5), (norm.running_mean, -0.5), (norm.running_var, 0.5)):
            assert values is not None
            values.data.uniform_(low, low + 1, generator=generator)
    net.card = replace(net.card, input_size=SIZE)
    return net.eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return 50 * torch.randn(1, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def channels_of(net: ICNet) -> dict[str, int]:
    return {name: child.out_channels for name, child in net.named_children() if isinstance(child, nn.Conv2d)}


def difference(a: ICNet, b: ICNet, x: torch.Tensor) -> float:
    """The largest of all heads' scores, relative to the largest score."""
    with torch.no_grad():
        pairs = list(zip(a.cascade_scores(x), b.cascade_scores(x), strict=True))
    return max(float((one - other).abs().max() / one.abs().max()) for one, other in pairs)


def silence(net: ICNet, name: str, channels: list[int]) -> None:
    """Make filters exactly zero, with what batch normalisation or the bias would add."""
    values: list[torch.Tensor] = [net.get_parameter(f"{name}.weight")]
    if net.merged:
        values.append(net.get_parameter(f"{name}.bias"))
    else:
        values += [net.get_parameter(f"{name}/bn.bias"), net.get_buffer(f"{name}/bn.running_mean")]
    for value in values:
        value.data[channels] = 0


def silence_half(net: ICNet) -> None:
    """Every second channel of every layer that has readers, as many as a keep rate of 1/2 leaves out."""
    counts, kept = channels_of(net), kept_channels(net, 0.5)
    for name, count in kept.items():
        silence(net, name, list(range(0, counts[name], 2))[: counts[name] - count])


@pytest.mark.parametrize("merged", [False, True])
def test_filters_of_zeros_are_not_missed(model: ICNet, x: torch.Tensor, merged: bool) -> None:
    net = folded(model) if merged else model
    silence_half(net)
    smaller = pruned(net, kept_channels(net, 0.5))
    assert channels_of(smaller)["conv5_3_3x3"] == 26 and channels_of(net)["conv5_3_3x3"] == 51
    assert difference(net, smaller, x) < 1e-12
    assert smaller.merged == merged


def test_other_filters_are_missed(model: ICNet, x: torch.Tensor) -> None:
    """The control: the same amount of filters that are not zero changes the scores."""
    assert difference(model, pruned(model, kept_channels(model, 0.5)), x) > 1e-3
    silence(model, "conv5_3_3x3", [3])
    one = pruned(model, {"conv5_3_3x3": channels_of(model)["conv5_3_3x3"] - 1})
    two = pruned(model, {"conv5_3_3x3": channels_of(model)["conv5_3_3x3"] - 2})
    assert difference(model, one, x) < 1e-12 < 1e-9 < difference(model, two, x)


def test_a_filter_of_zeros_with_a_bias_is_missed(model: ICNet, x: torch.Tensor) -> None:
    model.get_parameter("conv5_3_3x3.weight").data[3] = 0
    model.get_parameter("conv5_3_3x3/bn.bias").data[3] = 40
    smaller = pruned(model, {"conv5_3_3x3": channels_of(model)["conv5_3_3x3"] - 1})
    assert difference(model, smaller, x) > 1e-9


def test_keeping_all_is_the_identity(model: ICNet, x: torch.Tensor) -> None:
    same = pruned(model, kept_channels(model, 1))
    assert difference(model, same, x) == 0
    for key, value in model.state_dict().items():
        assert torch.equal(same.state_dict()[key], value), key
    assert same.card.input_size == SIZE and not same.training


def test_the_weakest_filters_go() -> None:
    torch.manual_seed(0)
    net = ICNet(4, merged=False, width=0.2, aux=True)
    weight = net.get_parameter("conv2_2_3x3.weight").data
    strength = weight.abs().sum((1, 2, 3))
    chosen = sorted(strength.argsort(descending=True)[:4].tolist())
    found = pruned(net, {"conv2_2_3x3": 4})
    assert torch.equal(found.get_parameter("conv2_2_3x3.weight"), weight[chosen])
    readers = net.get_parameter("conv2_2_1x1_increase.weight")
    assert torch.equal(found.get_parameter("conv2_2_1x1_increase.weight"), readers[:, chosen])


def test_layers_that_are_added_share_their_channels(model: ICNet) -> None:
    groups = {name: set(shared.writers) for shared in shared_channels(model) for name in shared.writers}
    assert groups["conv2_1_1x1_proj"] == {"conv2_1_1x1_proj", *(f"conv2_{n}_1x1_increase" for n in (1, 2, 3))}
    assert groups["conv4_6_1x1_increase"] == {"conv4_1_1x1_proj", *(f"conv4_{n}_1x1_increase" for n in range(1, 7))}
    assert groups["conv_sub4"] == {"conv_sub4", "conv3_1_sub2_proj"}
    assert groups["conv_sub2"] == {"conv_sub2", "conv3_sub1_proj"}
    readers = {name: shared.readers for shared in shared_channels(model) for name in shared.writers}
    assert set(readers["conv5_4_k1"]) == {"conv_sub4", "conv6_sub4"}
    assert set(readers["conv_sub4"]) == {"conv_sub2", "conv6_sub2"}
    assert [name for name, layers in readers.items() if not layers] == sorted(HEADS)


def test_half_of_a_half_is_a_quarter() -> None:
    net = ICNet(5, merged=False, width=0.5, aux=True)
    wanted = [kept_channels(net, rate) for rate in step_rates(0.5, 2)]
    first = pruned(net, wanted[0])
    assert channels_of(first)["conv1_1_3x3_s2"] == 12
    second = pruned(first, wanted[1])
    quarter = ICNet(5, merged=False, width=0.25, aux=True).state_dict()
    assert {key: value.shape for key, value in second.state_dict().items()} == {
        key: value.shape for key, value in quarter.items()
    }


def test_rates_of_steps() -> None:
    assert step_rates(0.5, 2) == [0.75, 0.5] and step_rates(0.4, 1) == [0.4] and step_rates(1, 3) == [1, 1, 1]
    for rate in (0.0, 1.5):
        with pytest.raises(InputError, match="keep rate"):
            kept_channels(ICNet(4, width=0.1), rate)
    assert min(kept_channels(ICNet(4, width=0.1), 0.01).values()) == 1


def test_pruned_nets_are_caffes(model: ICNet, tmp_path: Path) -> None:
    """In both forms the text says how many filters there are, and Caffe's side computes the same."""
    smaller = pruned(model.float(), kept_channels(model, 0.5))
    written = write_caffe_models(tmp_path, "small", smaller)
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        expected = smaller(x)
        for text, weights, bound in ((written[0], written[1], 1e-4), (written[2], written[3], 1e-5)):
            assert (load_caffe(text, weights)(x) - expected).abs().max() <= bound * expected.abs().max()
    outputs = {
        layer.name: layer.params.num_output for layer in read_net(written[0]).layers if layer.type == "Convolution"
    }
    counts = channels_of(smaller)
    assert outputs == {name: counts[name] for name in outputs} and outputs["conv1_1_3x3_s2"] == 3
    again = icnet(written[3], merged=False, aux=True)
    assert difference(again.double(), smaller.double(), x.double()) == 0


def test_a_pruned_net_trains_on_and_resumes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", 3, size=(64, 128))
    recipe = recipe_of(
        {
            "data": {"crop": [65, 97], "workers": 0},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "train": {"iterations": 3, "batch": 2, "log_every": 1},
        },
        "test",
    )
    torch.manual_seed(5)
    net = ICNet(19, merged=False, width=0.2, aux=True)
    initialize(net)
    net.card = replace(net.card, input_size=(65, 129))
    titles: list[str] = []

    def compress() -> ICNet:
        for step in pruning_steps(Start(net, (), ()), tmp_path / "out", 0.5, 2):
            titles.append(step.title)
            train(Trainer(recipe, step.begin, source_of(tmp_path / "data"), step.folder), resume=True)
        done = trained_network(tmp_path / "out")
        assert isinstance(done, ICNet)
        return done

    done = compress()
    assert channels_of(done)["conv5_3_3x3"] == 26
    assert (tmp_path / "out" / "step-1" / "last.safetensors").exists() and "step 2 of 2" in titles[1]
    start = pruned(icnet(tmp_path / "out" / "step-1" / "last.safetensors", merged=False, aux=True), channels_of(done))
    moved = (done.get_parameter("conv5_3_3x3.weight") - start.get_parameter("conv5_3_3x3.weight")).abs().max()
    assert moved > 1e-4
    (tmp_path / "out" / "last.pt").unlink()
    again = compress()
    for key, value in done.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
