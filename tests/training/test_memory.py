"""What a training costs, measured in a process of its own."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from training.build import new_net
from training.cli import main
from training.memory import Cost, line, measure, resident
from training.recipes.recipe import read_recipe

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")


def test_the_peak_holds_all_that_a_training_holds() -> None:
    """Weights, gradients and momentum, the images and the labels as a lower bound; and it grows with the images."""
    recipe = read_recipe("icnet", ["model.width=0.5"])
    weights = sum(4 * parameter.numel() for parameter in new_net(recipe, 19).parameters())
    small, large = measure(recipe, (65, 97), 1, CPU), measure(recipe, (257, 513), 4, CPU)
    images = 4 * 257 * 513 * (3 * 4 + 1)
    assert small.peak > 3 * weights and large.peak > 3 * weights + images
    assert large.peak - small.peak > 4 * images
    assert small.seconds > 0 and (large.size, large.batch) == ((257, 513), 4)


def test_resident_memory_and_its_peak() -> None:
    """Memory from Linux itself: what malloc gives may stay with the process."""
    size = 1 << 26
    before = resident("VmRSS")
    with mmap.mmap(-1, size) as block:
        block.write(bytes([1]) * size)
        held = resident("VmRSS")
        assert held - before > size // 2
    assert resident("VmRSS") < held - size // 2 and resident("VmHWM") > held - size // 8


def test_published_figures_stand_beside_what_they_are_for() -> None:
    assert "mmseg-r50 2.53" in line("icnet", Cost((833, 833), 2, 1 << 30, 1.5))
    assert "mmseg" not in line("icnet", Cost((833, 833), 1, 1 << 30, 1.5))
    assert line("icnet", Cost((1025, 2049), 2, 3 << 29, 1.5)).split() == ["icnet", "1025x2049", "2", "1.50", "1.50"]


@pytest.mark.parametrize("recipe", ["icnet", "mmseg-r18-80k"])
def test_the_command_takes_every_network(recipe: str, tmp_path: Path) -> None:
    options = ["--recipe", recipe, "--measure-memory", "--size", "64", "96", "--batch", "2", "--device", "cpu"]
    found = CliRunner().invoke(main, [*options, "--json", str(tmp_path / "m.json")])
    assert found.exit_code == 0, found.output
    (cost,) = json.loads((tmp_path / "m.json").read_text())["costs"]
    assert cost["batch"] == 2 and cost["peak"] > 0 and cost["seconds"] > 0
    expected = "65x97" if recipe == "icnet" else "64x96"
    assert expected in found.output.splitlines()[-1].split()


def test_one_image_alone_is_too_few_for_a_pyramid_with_normalisation() -> None:
    options = ["--recipe", "mmseg-r18-80k", "--measure-memory", "--size", "64", "96", "--batch", "1", "--device", "cpu"]
    found = CliRunner().invoke(main, options)
    assert found.exit_code == 1 and "mmseg-r18 needs at least two images in each pass" in found.output


@pytest.mark.parametrize("recipe", ["liminn", "supervisely", "mmseg-r18-80k"])
def test_a_network_of_one_width_is_not_narrowed(recipe: str) -> None:
    found = CliRunner().invoke(main, ["--recipe", recipe, "--measure-memory", "--set", "model.width=0.5"])
    assert found.exit_code == 1 and "has one width alone" in found.output
