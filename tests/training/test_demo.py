"""What ``make demo`` relies on: a list that fits the scenes, and a small, sane, unmerged caffemodel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from converter import activations
from evaluation import preprocess
from prototxt import read_weights
from pytorch_icnet import load
from pytorch_icnet.icnet import ICNet
from training.scenes import scene
from training.scenes.files import list_line

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "demo" / "icnet_demo.caffemodel"


def test_list_names_the_scenes_of_the_demo() -> None:
    lines = (ROOT / "samplelist" / "demo.txt").read_text().splitlines()
    assert lines == [list_line(index, "val", "demo") for index in range(4)]
    assert "--count 4 --split val --city demo" in (ROOT / "Makefile").read_text()


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
    return activations(model, preprocess(scene(0, 11, (256, 512))[0], (257, 513)))


def test_activations_neither_vanish_nor_explode(tops: dict[str, torch.Tensor]) -> None:
    spread = {name: float(top.std()) for name, top in tops.items() if name.endswith("/bn")}
    assert len(spread) > 50
    assert [name for name, value in spread.items() if not 0.05 < value < 50] == []


def test_several_classes_are_predicted(tops: dict[str, torch.Tensor]) -> None:
    counts = torch.bincount(tops["conv6_cls"].argmax(1).flatten(), minlength=19)
    assert (counts > 0).sum() > 5
