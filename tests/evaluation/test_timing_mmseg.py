"""``test_time --protocol mmseg``: what is timed, and what stands beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import pytorch_icnet
from evaluation.timing import cli, mmseg
from evaluation.timing.cli import main
from pytorch_icnet import ICNet
from pytorch_icnet.card import ModelCard
from pytorch_icnet.variants.mmseg import MMSegICNet
from pytorch_icnet.weights.known import KNOWN_WEIGHTS, Provenance
from training import memory
from training.recipes.recipe import Recipe

SMALL = ("--height", 32, "--width", 64, "--device", "cpu")


def run(folder: Path, *arguments: object) -> Result:
    files = ("--log", folder / "time.log", "--json", folder / "t.json")
    return CliRunner().invoke(main, [str(argument) for argument in ("--protocol", "mmseg", *arguments, *files)])


def test_all_networks_beside_the_published(tmp_path: Path) -> None:
    result = run(tmp_path, *SMALL, "--iterations", 2, "--warmup", 1)
    assert result.exit_code == 0, result.output
    number = r"[\d.]+"
    for name, fps, training in (("r18", "27.12", "1.70"), ("r50", "20.08", "2.53"), ("r101", "16.95", "3.08")):
        assert re.search(rf"^mmseg-{name} +{number} +{fps} +{number} +- +{training}$", result.output, re.MULTILINE)
    assert "Published for one V100 at 1024x2048, which is another machine" in result.output
    assert (tmp_path / "time.log").read_text() == result.output
    report = json.loads((tmp_path / "t.json").read_text())
    assert (report["height"], report["width"], report["iterations"], report["batch"]) == (32, 64, 2, 1)
    for row in report["networks"]:
        assert len(row["ms"]) == 2 and row["fps"] == pytest.approx(2000 / sum(row["ms"]))


def test_as_many_images_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counting(torch.nn.Module):
        depth, card = 18, ModelCard(provenance=Provenance("w.pth", "md5", "sha256", None))

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(x.shape))
            return x * self.weight

    monkeypatch.setattr(mmseg, "_networks", lambda weights: [Counting()])
    text, data = mmseg.benchmark(None, torch.device("cpu"), size=(4, 8), training_gb=lambda name: 1.25)
    assert sizes == [(1, 3, 4, 8)] * 200
    assert len(data["networks"][0]["ms"]) == data["iterations"] == 195
    assert "1.25" in text and data["networks"][0]["weights"] == Counting.card.weights_data()
    assert mmseg.INPUT_SIZE == (1024, 2048)


def test_the_label_map_is_in_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of the image's own size, whose first maximum comes back."""
    taken = []
    argmax = torch.Tensor.argmax

    def noted(self: torch.Tensor, dim: int) -> torch.Tensor:
        taken.append(tuple(self.shape))
        return argmax(self, dim)

    monkeypatch.setattr(torch.Tensor, "argmax", noted)
    monkeypatch.setattr(mmseg, "DEPTHS", (18,))
    mmseg.benchmark(None, torch.device("cpu"), size=(32, 64), iterations=2, warmup=0)
    assert taken == [(1, 19, 32, 64)] * 2


def test_given_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch_icnet, "load", lambda path: MMSegICNet(50, 5, aux=False))
    result = run(tmp_path, *SMALL, "--iterations", 1, "--weights", "w.pth")
    assert result.exit_code == 0 and "mmseg-r50" in result.output and "mmseg-r18" not in result.output
    monkeypatch.setattr(pytorch_icnet, "load", lambda path: ICNet(width=0.1))
    result = run(tmp_path, *SMALL, "--weights", "w.pth")
    assert result.exit_code == 1
    assert "w.pth: a network of the family Caffe's; --protocol mmseg times mmsegmentation's" in result.stderr


def test_wrong_use(tmp_path: Path) -> None:
    for option in (("--per-layer",), ("--batch", 2), ("--no-rewrite",), ("--backend", "eager")):
        result = run(tmp_path, *option)
        assert result.exit_code == 2 and "networks as they are" in result.stderr
    result = run(tmp_path, "--height", 13, "--width", 64, "--device", "cpu")
    assert result.exit_code == 1 and "at least 14x14" in result.stderr
    assert not (tmp_path / "time.log").exists()


def test_no_speed_is_published_for_the_originals() -> None:
    assert mmseg._published(KNOWN_WEIGHTS[0].net) == {}


def test_memory_is_that_of_the_published_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(recipe: Recipe, size: tuple[int, int], batch: int, device: torch.device) -> memory.Cost:
        asked.append((recipe.model.network, size, batch, device.type))
        return memory.Cost(size, batch, 3 << 29, 1.0)

    monkeypatch.setattr(memory, "measure", measured)
    assert cli._training_gb("mmseg-r18") == 1.5
    assert asked == [("mmseg-r18", (832, 832), 2, "cuda")]
