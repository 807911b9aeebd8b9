"""The generated street scenes: the same again each time, every class in them, and files as Cityscapes lays them out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES, IGNORED
from pytorch_icnet.imaging.images import read_image, read_label_map
from training.scenes import scene, write_scenes
from training.scenes.__main__ import main

SIZE = (128, 256)


def digest(index: int, seed: int) -> str:
    rgb, label = scene(index, seed, SIZE)
    return hashlib.sha256(rgb.tobytes() + label.tobytes()).hexdigest()


def test_shapes_and_types() -> None:
    rgb, label = scene(0, size=(97, 161))
    assert rgb.shape == (97, 161, 3)
    assert label.shape == (97, 161)
    assert rgb.dtype == label.dtype == np.uint8
    assert set(np.unique(label)) <= {*range(len(CITYSCAPES)), IGNORED}


def test_default_size_is_that_of_cityscapes() -> None:
    rgb, label = scene(1)
    assert rgb.shape == (1024, 2048, 3)
    assert label.shape == (1024, 2048)


def test_same_arguments_same_pixels() -> None:
    """Also in another process, where hashes of strings differ."""
    program = "from tests.training.test_scenes import digest; print(digest(3, 7))"
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert digest(3, 7) == digest(3, 7) == other.stdout.strip()


def test_index_and_seed_change_the_scene() -> None:
    assert len({digest(index, seed) for index in (0, 1) for seed in (0, 1)}) == 4


def test_another_size_gives_the_same_street() -> None:
    """Where both sizes show one class in the middle of a large area, it is the same."""
    _, small = scene(2, 0, SIZE)
    _, large = scene(2, 0, (2 * SIZE[0], 2 * SIZE[1]))
    both = (small != IGNORED) & (large[::2, ::2] != IGNORED)
    assert both.mean() > 0.7
    assert (small == large[::2, ::2])[both].mean() > 0.97
    _, other = scene(3, 0, SIZE)
    assert (other == large[::2, ::2])[both].mean() < 0.9


def test_every_class_appears() -> None:
    labels = np.stack([scene(index, 0, SIZE)[1] for index in range(16)])
    counts = np.bincount(labels.ravel(), minlength=256).tolist()
    assert [item.name for item, count in zip(CITYSCAPES, counts, strict=False) if count < 100] == []


@pytest.mark.parametrize("index", range(4))
def test_void_is_the_bonnet_and_thin_borders(index: int) -> None:
    _, label = scene(index, 0, SIZE)
    void = label == IGNORED
    assert void[-1].all()
    assert 0.06 < void[-SIZE[0] // 8 :].sum() / void.size < 0.14
    above = void[: -SIZE[0] // 6]
    assert 0.01 < above.mean() < 0.25
    thick = above[1:-1, 1:-1] & above[:-2, 1:-1] & above[2:, 1:-1] & above[1:-1, :-2] & above[1:-1, 2:]
    assert thick.sum() < 0.2 * above.sum()


def test_classes_can_be_told_apart_by_place_and_colour() -> None:
    """The sky is above the road, and grass greener than asphalt: the labels belong to the pictures."""
    rgb, label = scene(5, 0, SIZE)
    rows = np.arange(SIZE[0])[:, None] + np.zeros(SIZE)
    names = [item.name for item in CITYSCAPES]
    road, sky, vegetation = (label == names.index(name) for name in ("road", "sky", "vegetation"))
    assert rows[sky].max() < rows[road].max()
    assert rows[sky].mean() < rows[road].mean() - SIZE[0] / 4
    greenness = rgb[..., 1].astype(float) - rgb[..., 2]
    assert greenness[vegetation].mean() > greenness[road].mean() + 10


@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_too_small(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        scene(0, 0, size)


def test_layout_on_disk(tmp_path: Path) -> None:
    lines = write_scenes(tmp_path, 2, "val", "demo", 4, SIZE)
    assert lines == [
        f"leftImg8bit/val/demo/demo_{index:06d}_000000_leftImg8bit.png "
        f"gtFine/val/demo/demo_{index:06d}_000000_gtFine_labelTrainIds.png"
        for index in range(2)
    ]
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == 4
    for index, line in enumerate(lines):
        image, label = (tmp_path / path for path in line.split())
        rgb, expected = scene(index, 4, SIZE)
        np.testing.assert_array_equal(read_image(image), rgb)
        np.testing.assert_array_equal(read_label_map(label), expected)


def test_command_writes_scenes_and_list(tmp_path: Path) -> None:
    options = ["--root", tmp_path, "--count", 2, "--split", "val", "--size", *SIZE, "--list", tmp_path / "val.txt"]
    result = CliRunner().invoke(main, [str(option) for option in options])
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "val.txt").read_text().splitlines()
    assert len(lines) == 2
    assert all((tmp_path / path).is_file() for line in lines for path in line.split())


def test_command_names_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit").write_text("in the way")
    result = CliRunner().invoke(main, ["--root", str(tmp_path), "--count", "1", "--size", "32", "64"])
    assert result.exit_code == 1
    assert "leftImg8bit" in result.output.splitlines()[-1]
    with pytest.raises(InputError):
        write_scenes(tmp_path, 1, size=(32, 64))
