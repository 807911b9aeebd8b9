"""Training the variants, mmsegmentation's first: they learn, are written, begin with files of several kinds."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from icnet_common.errors import InputError
from pytorch_icnet.variants import mmseg
from pytorch_icnet.variants.liminn import LiminnICNet
from pytorch_icnet.variants.mmseg import MMSegICNet
from pytorch_icnet.variants.resnet import ResNet
from pytorch_icnet.variants.semseg import SemSegICNet
from pytorch_icnet.weights.checkpoints import read_checkpoint
from training.build import freeze, parameter_groups, start
from training.cli import main
from training.data import Batch, source_of
from training.loop import Trainer
from training.recipes.recipe import Recipe, read_recipe
from training.scenes import write_scenes

CHANGES = ("data.crop=[64,96]", "data.workers=0", "train.batch=2", "train.log_every=1", "train.validate_every=100")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_scenes(root, 4, size=(64, 128))
    return root


def recipe(*changes: str) -> Recipe:
    return read_recipe("mmseg-r18-80k", [*CHANGES, *changes])


def train(root: Path, out: Path, *options: str) -> Result:
    settings = [word for change in CHANGES for word in ("--set", change)]
    fixed = ["--recipe", "mmseg-r18-80k", "--data-root", str(root), "--out", str(out), "--device", "cpu"]
    return CliRunner().invoke(main, [*fixed, *settings, *options])


def test_two_iterations_and_one_more(root: Path, tmp_path: Path) -> None:
    first = train(root, tmp_path, "--max-iterations", "2", "--val-list", "none")
    assert first.exit_code == 0, first.output
    second = train(root, tmp_path, "--max-iterations", "3", "--val-list", "none", "--resume")
    assert second.exit_code == 0, second.output
    with (tmp_path / "log.csv").open(newline="") as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert len(losses) == 3
    # Scores near zero: log(19) for each labelled pixel, weighted 1, 0.4 and 0.4, and void ones count as 0.
    assert 0.5 < losses[0] < 1.8 * 3.2
    network = mmseg.build(read_checkpoint(tmp_path / "last.safetensors").state)
    assert (network.depth, network.aux) == (18, True)
    counts = [value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")]
    assert counts and all(value == 3 for value in counts)


def test_validation_is_its_own_protocol(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    plain = MMSegICNet.forward

    def small(self: MMSegICNet, x: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(x.shape))
        return plain(self, x[..., ::16, ::16])

    monkeypatch.setattr(MMSegICNet, "forward", small)
    result = train(root, tmp_path, "--max-iterations", "1", "--val-list", str(_list(root, tmp_path)))
    assert result.exit_code == 0 and "iteration 1: mean IoU" in result.output, result.output
    assert sizes == [(1, 3, 1024, 2048)] * 2, "the test pipeline enlarges them"
    assert (tmp_path / "best.safetensors").exists()


def _list(root: Path, folder: Path) -> Path:
    """The first two images and their labels."""
    entries = source_of(root).entries[:2]
    path = folder / "two.txt"
    path.write_text("".join(f"{entry.image} {entry.label}\n" for entry in entries))
    return path


@pytest.mark.slow
def test_a_batch_overfits(root: Path, tmp_path: Path) -> None:
    changes = ("optimizer.name=adamw", "optimizer.lr=0.001", "schedule.name=constant", "loss.average=labelled")
    training = Trainer(recipe(*changes), start(recipe(*changes), 19), source_of(root), tmp_path)
    samples = [training.samples[number] for number in range(2)]
    batch = Batch(torch.stack([s.blob for s in samples]), torch.stack([s.labels for s in samples]), [], [])
    losses = [training.step([batch]) for _ in range(40)]
    assert min(losses[-5:]) < 0.4 * losses[0]


def test_a_checkpoint_for_other_classes(tmp_path: Path) -> None:
    source = MMSegICNet(18, 19)
    torch.save({"meta": {}, "state_dict": source.state_dict()}, tmp_path / "w.pth")
    begin = start(recipe(), 4, tmp_path / "w.pth")
    heads = {"decode_head.conv_seg", "auxiliary_head.0.conv_seg", "auxiliary_head.1.conv_seg"}
    assert set(begin.new) == heads
    for key, value in begin.model.state_dict().items():
        if key.rpartition(".")[0] not in heads:
            assert torch.equal(value, source.state_dict()[key]), key
    rows = [line.split() for line in begin.table().splitlines()]
    assert ["decode_head.conv_seg", "0", "1"] in rows and ["neck.cff_12", "4", "0"] in rows


def test_a_checkpoint_without_auxiliary_heads(tmp_path: Path) -> None:
    torch.save(MMSegICNet(18, aux=False).state_dict(), tmp_path / "w.pth")
    begin = start(recipe(), 19, tmp_path / "w.pth")
    assert begin.new and all(name.startswith("auxiliary_head.") for name in begin.new)


def test_a_resnet_of_imagenet(tmp_path: Path) -> None:
    """As OpenMMLab published them: the ResNet's own keys, and its thousand classes."""
    resnet = ResNet(18)
    classes = nn.Linear(512, 1000).state_dict()
    state = {**resnet.state_dict(), **{f"fc.{key}": value for key, value in classes.items()}}
    torch.save({"state_dict": state}, tmp_path / "resnet18_v1c.pth")
    begin = start(recipe(), 19, tmp_path / "resnet18_v1c.pth")
    assert all(name.startswith("backbone.backbone.") for name in begin.loaded)
    assert not any(name.startswith("backbone.backbone.") for name in begin.new)
    found = begin.model.state_dict()
    assert all(torch.equal(found[f"backbone.backbone.{key}"], value) for key, value in resnet.state_dict().items())


def test_liminn_with_a_resnet_of_imagenet(tmp_path: Path) -> None:
    source = LiminnICNet().pretrained.state_dict()
    torch.save(source, tmp_path / "resnet50-25c4b509.pth")
    begin = start(read_recipe("liminn"), 19, tmp_path / "resnet50-25c4b509.pth")
    assert all(name.startswith("pretrained.") for name in begin.loaded)
    assert begin.new and all(name.startswith(("conv_sub1.", "head.")) for name in begin.new)
    assert torch.equal(begin.model.state_dict()["pretrained.fc.weight"], source["fc.weight"])


def test_supervisely_for_other_classes(tmp_path: Path) -> None:
    source = SemSegICNet(19).state_dict()
    torch.save(source, tmp_path / "model.pt")
    begin = start(read_recipe("supervisely"), 3, tmp_path / "model.pt")
    heads = ("classification", "cff_sub24.low_classifier_conv", "cff_sub12.low_classifier_conv")
    assert set(begin.new) == set(heads)
    found = begin.model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in source.items() if key.rpartition(".")[0] not in heads)


def test_old_prefix(tmp_path: Path) -> None:
    source = MMSegICNet(18).state_dict()
    renamed = {key.replace("backbone.backbone.", "backbone.resnet."): value for key, value in source.items()}
    torch.save(renamed, tmp_path / "w.pth")
    begin = start(recipe(), 19, tmp_path / "w.pth")
    assert begin.new == () and all(torch.equal(value, source[key]) for key, value in begin.model.state_dict().items())


def test_other_networks_are_refused(tmp_path: Path) -> None:
    torch.save(MMSegICNet(50).state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: not weights for this recipe's network: .* and \d+ more"):
        start(recipe(), 19, tmp_path / "w.pth")
    torch.save(ResNet(50).state_dict(), tmp_path / "r.pth")
    with pytest.raises(InputError, match=r"r\.pth: not weights for this recipe's network"):
        start(recipe(), 19, tmp_path / "r.pth")
    shorter = {key: value for key, value in MMSegICNet(18).state_dict().items() if not key.startswith("neck.")}
    torch.save(shorter, tmp_path / "s.pth")
    with pytest.raises(InputError, match=r"neck\.cff_24\.conv_low\.conv\.weight is missing"):
        start(recipe(), 19, tmp_path / "s.pth")


def test_frozen_parts_and_groups() -> None:
    begin = start(recipe(), 19)
    freeze(begin.model, ["backbone.backbone.stem", "backbone.backbone.layer1"])
    learning = {name for name, value in begin.model.named_parameters() if value.requires_grad}
    assert "backbone.backbone.layer2.0.conv1.weight" in learning
    assert not any(name.startswith(("backbone.backbone.stem", "backbone.backbone.layer1")) for name in learning)
    groups = parameter_groups(begin.model, dataclasses.replace(recipe()), ())
    parameters = [value for group in groups for value in group["params"]]  # type: ignore[attr-defined]
    assert len(parameters) == len(learning) and {group["weight_decay"] for group in groups} == {5e-4}


def test_not_for_caffe(root: Path, tmp_path: Path) -> None:
    result = train(root, tmp_path, "--to-caffe")
    assert result.exit_code == 2 and "mmseg-r18 is no net of Caffe's" in result.output
