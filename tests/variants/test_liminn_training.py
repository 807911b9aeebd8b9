"""Training liminn's and Supervisely's networks: recipes, groups, mistakes on request."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from icnet_common.errors import InputError
from pytorch_icnet import load
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.semseg import SemSegICNet
from training.build import new_net, parameter_groups, start
from training.cli import main
from training.losses import blend_labels, downsample_labels
from training.recipes.recipe import read_recipe
from training.scenes import write_scenes

SIZES = {"liminn": "data.crop=[64,96]", "supervisely": "data.resize=[161,161]"}
FINEST = {"liminn": LiminnICNet, "supervisely": SemSegICNet}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("mistakes", [False, True])
def test_two_iterations(tmp_path: Path, name: str, mistakes: bool) -> None:
    write_scenes(tmp_path / "data", 3, size=(64, 128))
    changes = [SIZES[name], "data.workers=0", "train.batch=2", "train.log_every=1", "train.validate_every=100"]
    changes += ["model.published_mistakes=true"] if mistakes else []
    changes += ["loss.label_resize=bilinear"] if mistakes and name == "liminn" else []
    settings = [word for change in changes for word in ("--set", change)]
    fixed = ["--recipe", name, "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = CliRunner().invoke(main, [*fixed, *settings, "--max-iterations", "2", "--val-list", "none"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "log.csv").open(newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert len(losses) == 2 and all(0 < loss < 50 for loss in losses)
    found = load(tmp_path / "out" / "last.safetensors")
    assert type(found) is FINEST[name]
    doubled = "pretrained.layer4.0.bn1" if name == "liminn" else "res_block3_identity.layers.0.cbr1.cbr_unit.1"
    assert int(found.get_buffer(f"{doubled}.num_batches_tracked")) == (4 if mistakes else 2)


def test_without_batch_normalisation(tmp_path: Path) -> None:
    """Two iterations change the weights, which are loaded again, and a second training begins with them."""
    write_scenes(tmp_path / "data", 3, size=(64, 128))
    common = ["--recipe", "supervisely", "--data-root", str(tmp_path / "data"), "--device", "cpu", "--val-list", "none"]
    changes = [SIZES["supervisely"], "data.workers=0", "train.batch=2", "train.log_every=1", "model.batch_norm=none"]
    common += ["--max-iterations", "2", *(word for change in changes for word in ("--set", change))]
    first = CliRunner().invoke(main, [*common, "--out", str(tmp_path / "a")])
    assert first.exit_code == 0, first.output
    found = load(tmp_path / "a" / "last.safetensors")
    assert isinstance(found, SemSegICNet) and not found.batch_norm
    assert set(found.state_dict()) == set(SemSegICNet(batch_norm=False).state_dict())
    begun = start(read_recipe("supervisely", changes), 19).model.state_dict()
    moved = {key for key, value in found.state_dict().items() if not torch.equal(value, begun[key])}
    assert moved == {key for key in begun if "path_module_list" not in key}
    again = CliRunner().invoke(
        main, [*common, "--out", str(tmp_path / "b"), "--weights", str(tmp_path / "a" / "last.safetensors")]
    )
    assert again.exit_code == 0, again.output
    losses = []
    for folder in ("a", "b"):
        with (tmp_path / folder / "log.csv").open(newline="") as stream:
            losses += [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert len(losses) == 4 and all(0 < loss < 50 for loss in losses)


def test_batch_normalisation_is_left_out_of_one_network_alone() -> None:
    for name in ("icnet", "liminn", "mmseg-r18-80k"):
        with pytest.raises(InputError, match=r"model\.batch_norm: none is for the network supervisely alone"):
            read_recipe(name, ["model.batch_norm=none"])


def test_weights_with_batch_normalisation_do_not_fit(tmp_path: Path) -> None:
    torch.save(SemSegICNet().state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match="not weights for this recipe's network"):
        start(read_recipe("supervisely", ["model.batch_norm=none"]), 19, tmp_path / "a.pth")


def test_groups_of_liminn(tmp_path: Path) -> None:
    """Everything but the backbone learns ten times as fast, as published: 0.1 against 0.01."""
    recipe = read_recipe("liminn")
    torch.save(LiminnICNet().state_dict(), tmp_path / "a.pth")
    begin = start(recipe, 19, tmp_path / "a.pth")
    assert begin.new == ()
    names = {id(parameter): name for name, parameter in begin.model.named_parameters()}
    rates: dict[str, set[float]] = {}
    for group in parameter_groups(begin.model, recipe, begin.new):
        assert group["weight_decay"] == 1e-4
        for parameter in group["params"]:  # type: ignore[attr-defined]
            rates.setdefault(names.pop(id(parameter)).split(".")[0], set()).add(group["lr"])  # type: ignore[arg-type]
    assert names == {} and rates == {"pretrained": {0.01}, "conv_sub1": {0.1}, "head": {0.1}}


def test_supervisely_learns_at_one_rate() -> None:
    recipe = read_recipe("supervisely")
    (group,) = parameter_groups(new_net(recipe, 5), recipe, ())
    assert (group["lr"], group["weight_decay"], recipe.schedule.name) == (1e-4, 0.0, "plateau")


def test_a_rate_that_never_decays_is_on_request() -> None:
    """pytorch-semseg's poly schedule is constant by mistake; ours decays unless a recipe says so."""
    from training.schedules import schedule_of

    assert schedule_of(read_recipe("liminn")).factor(80_000) < 0.1
    constant = schedule_of(read_recipe("liminn", ["schedule.name=constant"]))
    assert constant.factor(0) == constant.factor(80_000) == 1


def test_mistakes_that_a_network_has_not() -> None:
    for name in ("icnet", "mmseg-r18-80k"):
        with pytest.raises(InputError, match=r"model\.published_mistakes: liminn and supervisely have them"):
            new_net(read_recipe(name, ["model.published_mistakes=true"]), 5)


def test_blended_labels() -> None:
    """Between class 10 and void, and between 10 and 0, blending names classes that are not there."""
    labels = torch.tensor([[[10, 10, 0, 255, 255]]]).expand(1, 3, 5)
    assert blend_labels(labels, (3, 5)).tolist() == labels.tolist()
    assert blend_labels(labels, (3, 4))[0, 0].tolist() == [10, 6, 0, 255]
    assert blend_labels(torch.tensor([[[255, 0, 255]]]), (1, 2))[0, 0].tolist() == [255, 255]
    assert blend_labels(torch.tensor([[[255, 255, 5, 5]]]), (1, 3))[0, 0].tolist() == [255, 2, 5]
    assert downsample_labels(labels, (3, 4))[0, 0].tolist() == [10, 10, 255, 255]
