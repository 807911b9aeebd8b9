"""Trainings from Supervisely's configurations: what they become, and what they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import ClassTable
from pytorch_icnet.icnet import ICNet
from pytorch_icnet.supervisely.config import TrainConfig, train_config_of
from pytorch_icnet.supervisely.project import Project, read_project
from pytorch_icnet.supervisely.results import PluginCheckpoint, read_checkpoint_folder, write_checkpoint_folder
from pytorch_icnet.variants.semseg import SemSegICNet
from pytorch_icnet.weights.checkpoints import load
from training.cli import main
from training.supervisely.data import class_indices, sources
from training.supervisely.job import planned, recipe_for, start_project

from ..supervisely.small import SIZE, write_project

NO_TABLE = ClassTable("", ())
TAGS = ("train", "train", "train", "val")
SMALL: dict[str, Any] = {
    "input_size": {"width": 97, "height": 65},
    "data_workers": {"train": 0},
    "epochs": 2,
    "val_every": 0.5,
    "lr": 0.001,
}
NARROW = ("--set", "model.width=0.1", "--set", "train.log_every=1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return read_project(write_project(tmp_path_factory.mktemp("project") / "p", TAGS))


def config(**changes: Any) -> TrainConfig:
    return train_config_of({**SMALL, **changes}, "c.json")


def run(root: Path, out: Path, settings: dict[str, Any], *options: object) -> Result:
    file = out.parent / f"{out.name}.json"
    file.write_text(json.dumps(settings))
    arguments = ["--supervisely", file, "--data-root", root, "--out", out, "--device", "cpu", *NARROW, *options]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def table(project: Project, indices: dict[str, int]) -> ClassTable:
    classes = tuple(each for each in project.meta.classes if each.title in indices)
    return PluginCheckpoint(Path(), {}, classes, indices).table()


def test_recipe() -> None:
    settings = {
        "batch_size": {"train": 4},
        "allow_corrupted_samples": {"train": 3},
        "lr_decreasing": {"patience": 7, "lr_divisor": 3},
        "epochs": 5,
    }
    recipe = recipe_for(config(**settings), images=10, processes=2, changes=["data.blur=0.25"])
    assert recipe.train.batch == 8 and recipe.train.iterations == 7  # 50 images, 8 at a time
    assert recipe.data.resize == (65, 97) and recipe.data.crop is None and recipe.data.blur == 0.25
    assert (recipe.data.workers, recipe.data.allow_corrupted) == (0, 3)
    assert (recipe.optimizer.name, recipe.optimizer.lr) == ("adam", 0.001)
    assert (recipe.schedule.name, recipe.schedule.patience, recipe.schedule.divisor) == ("plateau", 7, 3)
    assert recipe.loss.weights == (1, 0.4, 0.16) and recipe.loss.compare == "logits"


@pytest.mark.parametrize(
    ("size", "network"), [((1025, 2049), "supervisely"), ((1057, 2081), "supervisely"), ((513, 1025), "icnet")]
)
def test_the_plugins_network_where_it_can_validate(size: tuple[int, int], network: str) -> None:
    chosen = recipe_for(config(input_size={"width": size[1], "height": size[0]}), 4)
    assert chosen.model.network == network


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({"input_size": {"width": 110, "height": 65}}, (), "cannot take an input of 65x110"),
        ({}, ("model.network=liminn",), "expected supervisely or icnet"),
        ({}, ("optimizer.rate=1",), "no key optimizer.rate"),
    ],
)
def test_what_cannot_be_trained(settings: dict[str, Any], changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe_for(config(**settings), 4, 1, changes)


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "every", "expected"),
    [
        (3, 1, 2, 0.5, {2, 3, 5, 6}),
        (3, 1, 2, 1, {3, 6}),
        (4, 1, 1, 0.25, {1, 2, 3, 4}),
        (10, 4, 2, 1, {3, 5}),
        (100, 1, 1, 0.3, {30, 60, 90}),
        (2, 1, 4, 1.5, {3, 6}),
        (1, 1, 3, 0.1, {1, 2, 3}),
        (3, 1, 1, 5, set()),
    ],
)
def test_validations_by_fractions_of_epochs(
    images: int, batch: int, epochs: int, every: float, expected: set[int]
) -> None:
    chosen = config(batch_size={"train": batch}, epochs=epochs, val_every=every)
    assert planned(chosen, recipe_for(chosen, images), images) == expected


def test_label_maps_of_a_project(project: Project) -> None:
    """Index 0 where nothing is, classes in alphabetic order, neutral pixels as void."""
    chosen = config()
    indices = class_indices(chosen, project.meta, None)
    assert indices == {"car": 1, "road": 2, "sky": 3}
    train, val = sources(chosen, project, indices, table(project, indices))
    assert [entry.image for entry in train.entries] == ["ds0/img/0.png", "ds0/img/2.png", "ds1/img/1.png"]
    assert [entry.image for entry in val.entries] == ["ds1/img/3.png"]
    rgb, labels = train.read(0)
    expected = np.full(SIZE, 2, np.uint8)
    expected[:20] = 3
    expected[30:50, 10:30] = 1
    expected[50:58, 80:88] = 255
    assert rgb.shape == (*SIZE, 3) and (labels == expected).all()
    assert train.table.names == ("background", "car", "road", "sky")
    plain = sources(config(special_classes={"neutral": None}), project, {**indices, "neutral": 4}, train.table)[0]
    assert (plain.read(0)[1][50:58, 80:88] == 4).all()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"train": "learn"}, "no images with the tag 'learn' .dataset_tags.; the project's tags: train, val"),
        ({"val": "nothing"}, "no images with the tag 'nothing'"),
    ],
)
def test_tags_without_images(project: Project, tags: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sources(config(dataset_tags=tags), project, {"car": 1, "road": 2, "sky": 3}, NO_TABLE)


def test_corrupted_samples_are_borne_up_to_the_limit(tmp_path: Path) -> None:
    root = write_project(tmp_path / "p", ("train", "val", "val", "val"))
    for number in (1, 3):
        (root / "ds1" / "img" / f"{number}.png").write_bytes(b"no image")
    project = read_project(root)
    indices = {"car": 1, "road": 2, "sky": 3}
    strict, lenient, middle = (
        sources(config(allow_corrupted_samples={"val": limit}), project, indices, NO_TABLE)[1] for limit in (0, 2, 1)
    )
    with pytest.raises(InputError, match=r"1\.png"):
        strict.read(1)
    good = lenient.read(0)[1]
    assert all((lenient.read(index)[1] == good).all() for index in range(3))
    with pytest.raises(InputError, match="2 samples cannot be read, more than allow_corrupted_samples"):
        for index in range(3):
            middle.read(index)


def test_training_leaves_checkpoints_that_predict(project: Project, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(project.root, out, SMALL, "--max-iterations", "4")
    assert first.exit_code == 0, first.output
    assert "3 images to learn from, 1 to validate with, 3 classes" in first.output
    assert "the network is Caffe's ICNet" in first.output
    again = run(project.root, out, SMALL, "--resume")
    assert again.exit_code == 0 and "the best is" in again.output, again.output
    rows = json.loads((out / "checkpoints.json").read_text())
    assert [row["iteration"] for row in rows] == [2, 3, 4, 5, 6]  # 4 is where the first run was told to stop
    assert [row["folder"] for row in rows] == [f"{number:08}" for number in range(5)]
    assert rows[-1]["epoch"] == 2 and [row["best"] for row in rows].count(True) == 1
    assert min(rows, key=lambda row: row["loss"])["best"]
    checkpoint = read_checkpoint_folder(out / rows[-1]["folder"])
    assert checkpoint.indices == {"car": 1, "road": 2, "sky": 3} and checkpoint.settings["epochs"] == 2
    assert train_config_of(checkpoint.settings, "c") == train_config_of(SMALL, "c")
    kept, last = load(checkpoint.weights), load(out / "last.safetensors")
    assert all(torch.equal(one, last.state_dict()[key]) for key, one in kept.state_dict().items())
    model = checkpoint.model(device="cpu", backend="eager")
    val_source = sources(train_config_of(SMALL, "c"), project, dict(checkpoint.indices), checkpoint.table())[1]
    rgb, labels = val_source.read(0)
    right = (model.predictor.labels(rgb) == labels)[labels != 255].mean()
    assert right == pytest.approx(rows[-1]["pixel_accuracy"], abs=1e-3)  # validated as it predicts, but for the engine
    assert sorted(each.title for each in model.classes.values()) == ["car", "road", "sky"]


def test_neutral_pixels_teach_nothing(project: Project, tmp_path: Path) -> None:
    """Whatever lies below the neutral corner, the training is the same; without a neutral class it is not."""
    weights = []
    for number, (extra, neutral) in enumerate([(False, "neutral"), (True, "neutral"), (True, None)]):
        root = write_project(tmp_path / f"p{number}", TAGS)
        if extra:
            for path in root.glob("*/ann/*.json"):
                data = json.loads(path.read_text())
                below = {"classTitle": "car", "points": {"exterior": [[80, 50], [87, 57]]}, "geometryType": "rectangle"}
                data["objects"].insert(3, below)
                path.write_text(json.dumps(data))
        done = run(root, tmp_path / f"o{number}", {**SMALL, "special_classes": {"neutral": neutral}, "epochs": 1})
        assert done.exit_code == 0, done.output
        weights.append(load(tmp_path / f"o{number}" / "last.safetensors").state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert weights[2]["conv6_cls.bias"].shape != weights[0]["conv6_cls.bias"].shape


def test_continue_training_keeps_the_order_of_the_classes(project: Project, tmp_path: Path) -> None:
    run(project.root, tmp_path / "a", {**SMALL, "epochs": 1})
    old = read_checkpoint_folder(tmp_path / "a" / "00000000")
    order = {"sky": 1, "road": 2, "car": 3}
    turned = PluginCheckpoint(tmp_path / "turned", old.settings, old.classes, order)
    write_checkpoint_folder(turned, torch.load(old.weights, weights_only=True))
    settings = {**SMALL, "epochs": 1, "weights_init_type": "continue_training", "lr": 1e-12}
    done = run(project.root, tmp_path / "b", settings, "--weights", turned.folder)
    assert done.exit_code == 0, done.output
    new = read_checkpoint_folder(tmp_path / "b" / "00000000")
    assert new.indices == order
    before, after = (torch.load(each.weights, weights_only=True)["conv6_cls.weight"] for each in (old, new))
    assert (before - after).abs().max() < 1e-8
    fresh = run(
        project.root, tmp_path / "c", {**settings, "weights_init_type": "transfer_learning"}, "--weights", turned.folder
    )
    assert fresh.exit_code == 0, fresh.output
    made = torch.load(read_checkpoint_folder(tmp_path / "c" / "00000000").weights, weights_only=True)
    assert (before - made["conv6_cls.weight"]).abs().max() > 1e-3
    assert (
        torch.load(old.weights, weights_only=True)["conv1_1_3x3_s2.weight"] - made["conv1_1_3x3_s2.weight"]
    ).abs().max() < 1e-8


def test_without_batch_normalisation(project: Project, tmp_path: Path) -> None:
    done = run(project.root, tmp_path / "a", {**SMALL, "epochs": 1, "use_batchnorm": False})
    assert done.exit_code == 0, done.output
    net = load(tmp_path / "a" / "00000000" / "model.pt")
    assert isinstance(net, ICNet) and net.merged
    mixed = run(project.root, tmp_path / "b", SMALL, "--weights", tmp_path / "a" / "00000000")
    assert mixed.exit_code == 1 and "without batch normalisation, but use_batchnorm is true" in mixed.output


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"epoch": 1}, (), "no key epoch; did you mean epochs?"),
        ({"weights_init_type": "continue_training"}, (), "give the checkpoint folder with --weights"),
        ({}, ("--list", "x.txt"), "--list does not go with --supervisely"),
        ({}, ("--val-list", "x.txt"), "--val-list does not go with --supervisely"),
        ({}, ("--weights", "missing.pt"), "missing.pt"),
    ],
)
def test_wrong_use(
    project: Project, tmp_path: Path, settings: dict[str, Any], options: tuple[str, ...], message: str
) -> None:
    done = run(project.root, tmp_path / "o", {**SMALL, **settings}, *options)
    assert done.exit_code in (1, 2) and message in done.output and "Traceback" not in done.output, done.output


def test_other_classes_cannot_be_continued(project: Project) -> None:
    old = PluginCheckpoint(Path("old"), {}, (), {"car": 1, "tree": 2})
    with pytest.raises(InputError, match="classes are not those of old: without tree and with road, sky"):
        class_indices(config(), project.meta, old)


def test_the_plugins_net_takes_its_weights(tmp_path: Path) -> None:
    """All but the heads for transfer learning, all for continuing, and what does not fit is an error."""
    full = {"input_size": {"width": 2049, "height": 1025}}
    chosen = config(**full)
    recipe = recipe_for(chosen, 4)
    torch.manual_seed(3)
    state = SemSegICNet(4).state_dict()
    torch.save(state, tmp_path / "model.pt")
    transfer = start_project(chosen, recipe, 6, tmp_path / "model.pt")
    assert isinstance(transfer.model, SemSegICNet) and transfer.model.num_classes == 6
    made = transfer.model.state_dict()
    same = {key for key, value in state.items() if value.shape == made[key].shape and torch.equal(value, made[key])}
    assert {key for key in state if "classif" not in key} <= same and not any("classif" in key for key in same)
    assert sorted(transfer.new) == ["cff_sub12.low_classifier_conv", "cff_sub24.low_classifier_conv", "classification"]
    continuing = config(**full, weights_init_type="continue_training")
    whole = start_project(continuing, recipe, 4, tmp_path / "model.pt").model.state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in state.items())
    with pytest.raises(InputError, match=r"not for a net with 5 scores.*classif"):
        start_project(continuing, recipe, 5, tmp_path / "model.pt")
    without = config(**full, use_batchnorm=False)
    plain = recipe_for(without, 4)
    assert (recipe.model.batch_norm, plain.model.batch_norm) == ("train", "none")
    with pytest.raises(InputError, match="of another kind"):
        start_project(without, plain, 6, tmp_path / "model.pt")
    biased = start_project(without, plain, 6, None).model
    assert isinstance(biased, SemSegICNet) and not biased.batch_norm
    with pytest.raises(InputError, match="use_batchnorm of the configuration says that"):
        recipe_for(without, 4, changes=["model.batch_norm=none"])
    checkpoint = PluginCheckpoint(tmp_path / "c", {"input_size": full["input_size"]}, (), {"a": 1})
    write_checkpoint_folder(checkpoint, state)
    assert isinstance(read_checkpoint_folder(tmp_path / "c").model().predictor.module, SemSegICNet)
