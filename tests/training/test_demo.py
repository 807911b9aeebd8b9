"""What ``make demo`` relies on: scenes and a list that fit, a small, sane model, and its known figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from converter import activations
from evaluation import preprocess, score
from evaluation.cli import main
from prototxt import read_weights
from pytorch_icnet import load
from pytorch_icnet.icnet import ICNet
from pytorch_icnet.imaging.images import write_label_map
from pytorch_icnet.weights import known as known_weights
from pytorch_icnet.weights.checkpoints import Provenance
from training.plot import read_curves
from training.recipes.recipe import read_recipe
from training.scenes import scene, write_scenes
from training.scenes.scene import list_line

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "demo" / "icnet_demo.caffemodel"
LIST = ROOT / "samplelist" / "demo.txt"
COUNT, SEED, SIZE = 40, 2018, (257, 513)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, COUNT, "val", "demo", SEED, SIZE)
    return root


@pytest.fixture(scope="module")
def known() -> known_weights.KnownWeights:
    found = known_weights.by_file(WEIGHTS.name)
    assert found is not None
    return found


def test_list_names_the_scenes_of_the_demo() -> None:
    assert LIST.read_text().splitlines() == [list_line(index, "val", "demo") for index in range(COUNT)]
    commands = (ROOT / "Makefile").read_text()
    assert f"--count {COUNT} --split val --city demo --seed {SEED} --size 257 513\n" in commands
    assert "--input-size 257 513 " in commands and "--expect --tolerance 0.05\n" in commands


def test_the_known_weights_are_these(known: known_weights.KnownWeights) -> None:
    assert Provenance.of(WEIGHTS).md5 == known.md5 and known.input_size == SIZE
    recipe = read_recipe(known.recipe or "")
    assert recipe.train.seed == known.seed and known.mean_iou >= 60


def test_the_log_is_of_this_training(known: known_weights.KnownWeights) -> None:
    curves, train = read_curves(ROOT / "demo" / "training.csv"), read_recipe(known.recipe or "").train
    iterations, shares = curves["mean_iou"]
    assert iterations == list(range(train.validate_every, train.iterations + 1, train.validate_every))
    assert 100 * max(shares) == pytest.approx(known.mean_iou, abs=0.05)


def evaluated(data: Path, *options: str) -> Result:
    places = ["--list", str(LIST), "--data-root", str(data), "--save-root", str(data / "results")]
    return CliRunner().invoke(main, [*places, *options, "--tolerance", "0.05"])


@pytest.mark.slow
def test_figures_are_met_or_the_demo_fails(
    data: Path, known: known_weights.KnownWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = ("--weights", str(WEIGHTS), "--input-size", "257", "513", "--device", "cpu", "--expect")
    met = evaluated(data, *predict)
    assert met.exit_code == 0 and met.output.count("As expected: ") == 2, met.output
    changes: tuple[dict[str, Any], ...] = (
        {"mean_iou": known.mean_iou + 0.15},
        {"pixel_accuracy": (known.pixel_accuracy or 0) - 0.15},
    )
    for figures in changes:
        others = [each for each in known_weights.KNOWN_WEIGHTS if each is not known]
        monkeypatch.setattr(known_weights, "KNOWN_WEIGHTS", (*others, dataclasses.replace(known, **figures)))
        missed = evaluated(data, *predict)
        assert missed.exit_code == 1 and missed.output.count("NOT as expected: ") == 1, missed.output


@pytest.mark.parametrize("predictor", ["road", "building", "sky", "random", "random as often as labelled"])
def test_predictors_that_do_not_look_stay_below_ten(data: Path, tmp_path: Path, predictor: str) -> None:
    rng = np.random.default_rng(0)
    labels = [scene(index, SEED, SIZE)[1] for index in range(4)]
    counts = np.bincount(np.stack(labels).ravel(), minlength=256)[:19]
    shares = counts / counts.sum() if predictor != "random" else np.full(19, 1 / 19)
    for index in range(COUNT):
        if predictor.startswith("random"):
            values = rng.choice(19, SIZE, p=shares).astype(np.uint8)
        else:
            values = np.full(SIZE, {"road": 0, "building": 2, "sky": 10}[predictor], np.uint8)
        write_label_map(tmp_path / f"{Path(list_line(index, 'val', 'demo').split()[0]).stem}.png", values)
    found = score(tmp_path, LIST, data)
    assert 0 < found.mean_iou < 0.10


def test_weights_are_small_and_unmerged() -> None:
    assert WEIGHTS.stat().st_size < 2_000_000
    blobs = read_weights(WEIGHTS)
    assert [blob.shape for blob in blobs["conv1_1_3x3_s2/bn"]] == [(1, 8, 1, 1)] * 4
    assert {"conv6_cls", "conv6_sub2", "conv6_sub4"} <= set(blobs)
    for name, values in blobs.items():
        assert all(np.isfinite(blob).all() for blob in values), name


@pytest.fixture(scope="module")
def tops() -> dict[str, torch.Tensor]:
    model = load(WEIGHTS)
    assert isinstance(model, ICNet)
    return activations(model, preprocess(scene(0, 11, (256, 512))[0], SIZE))


def test_activations_neither_vanish_nor_explode(tops: dict[str, torch.Tensor]) -> None:
    spread = {name: float(top.std()) for name, top in tops.items() if name.endswith("/bn")}
    assert len(spread) > 50
    assert [name for name, value in spread.items() if not 0.05 < value < 50] == []


def test_several_classes_are_predicted(tops: dict[str, torch.Tensor]) -> None:
    counts = torch.bincount(tops["conv6_cls"].argmax(1).flatten(), minlength=19)
    assert (counts > 0).sum() > 5
