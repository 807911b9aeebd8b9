"""``icnet-train`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prototxt import read_weights
from pytorch_icnet import icnet, load
from pytorch_icnet.card import card_of
from training.cli import main
from training.scenes import write_scenes
from training.scenes.scene import write_list

SMALL = ("model.width=0.1", "data.crop=[65,97]", "data.workers=0", "train.batch=2", "train.log_every=1")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_scenes(root, 3, size=(64, 128))
    write_list(root / "val.txt", write_scenes(root, 2, split="val", seed=1, size=(64, 128)))
    return root


def train(root: Path, out: Path, *options: str) -> Result:
    settings = [word for change in SMALL for word in ("--set", change)]
    arguments = ["--data-root", str(root), "--out", str(out), "--device", "cpu", *settings, *options]
    return CliRunner().invoke(main, arguments)


def test_train_resume_and_give_back_to_caffe(root: Path, tmp_path: Path) -> None:
    first = train(root, tmp_path, "--max-iterations", "2")
    assert first.exit_code == 0 and "iteration 2: mean IoU" in first.output, first.output
    again = train(root, tmp_path, "--max-iterations", "3")
    assert again.exit_code == 1 and "go on with --resume" in again.output
    second = train(
        root, tmp_path, "--max-iterations", "3", "--resume", "--to-caffe", "--json", str(tmp_path / "r.json")
    )
    assert second.exit_code == 0, second.output
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["iterations"] == 3 and results["loss"] > 0 and 0 <= results["best"]["mean_iou"] <= 1
    assert {"best.safetensors", "icnet_bnnomerge.caffemodel", "last.pt", "log.csv"} <= set(results["files"])
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 3 + 2
    assert card_of(load(tmp_path / "last.safetensors")).input_size == (65, 129)
    assert {"conv6_cls", "conv6_sub2", "conv6_sub4"} <= set(read_weights(tmp_path / "icnet_bnnomerge.caffemodel"))


def test_fine_tuning_to_other_classes_shows_what_was_loaded(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    ids = [f"{name},{name},{name % 3}" for name in range(19)]
    table.write_text("\n".join(["name,id,train_id", *ids, "void,255,255"]))
    demo = Path(__file__).parents[2] / "demo" / "icnet_demo.caffemodel"
    options = ("--weights", str(demo), "--classes", str(table), "--label-kind", "labelIds", "--max-iterations", "1")
    found = train(root, tmp_path / "out", *options, "--val-list", "none")
    assert found.exit_code == 0, found.output
    rows = [line.split() for line in found.output.splitlines()]
    assert ["conv6_cls", "0", "1"] in rows and ["conv1", "8", "0"] in rows
    assert load(tmp_path / "out" / "last.safetensors").num_classes == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recipe", "mmseg-r18-80k"), "mmseg-r18 has one width alone"),
        (("--set", "optimizer.lrr=1"), "did you mean optimizer.lr?"),
        (("--set", "data.crop=[64,64]"), "nearest legal heights are 40 and 65"),
        (("--list", "missing.txt"), "no such list"),
        (("--weights", "missing.caffemodel"), "missing.caffemodel"),
    ],
)
def test_mistakes_are_one_line(root: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    found = train(root, tmp_path / "out", *options)
    assert found.exit_code == 1 and message in found.output and "Traceback" not in found.output
    assert len(found.output.splitlines()) == 1


def test_compression_in_steps(root: Path, tmp_path: Path) -> None:
    demo = Path(__file__).parents[2] / "demo" / "icnet_demo.caffemodel"
    options = ("--weights", str(demo), "--prune", "0.5", "--set", "train.iterations=1", "--val-list", "none")
    found = train(root, tmp_path / "out", *options, "--to-caffe")
    assert found.exit_code == 0 and "step 2 of 2: " in found.output, found.output
    full, steps = read_weights(demo), (tmp_path / "out" / "step-1", tmp_path / "out")
    for step, share in zip(steps, (0.75, 0.5), strict=True):
        weights = icnet(step / "last.safetensors", merged=False, aux=True)
        found_outputs = weights.get_parameter("conv4_3_3x3.weight").shape[0]
        assert found_outputs == share * full["conv4_3_3x3"][0].shape[0]
        assert weights.conv6_sub4.weight.shape[0] == 19
    blobs = read_weights(tmp_path / "out" / "icnet_bnnomerge.caffemodel")
    assert {"num_output: 16", "num_output: 19"} <= {
        line.strip() for line in (tmp_path / "out" / "icnet_bnnomerge.prototxt").read_text().splitlines()
    }
    assert blobs["conv4_3_3x3"][0].shape == (16, 16, 3, 3)


@pytest.mark.parametrize("options", [("--prune", "0.5"), ("--prune", "0"), ("--prune", "0.5", "--prune-steps", "0")])
def test_wrong_use_of_compression(root: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    found = train(root, tmp_path / "out", *options)
    assert found.exit_code == 2 and "--prune" in found.output and "Traceback" not in found.output
