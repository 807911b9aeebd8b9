"""The inputs that the goldens were made of are those that the tests make anew from their seeds."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt
import pytest

from evaluation.data.labels import read_truth
from pytorch_icnet.imaging.images import read_label_map

from ..golden import shared
from . import goldens

NAMES = [
    "eval_129x257",
    "eval_193x321",
    "eval_128x256",
    "eval_1025x2049_s0",
    "eval_1025x2049_s1",
    "train_mmseg_129x257",
    "train_liminn_128x256",
    "train_semseg_sly_193x321",
]


def made(call: str) -> npt.NDArray[np.generic]:
    """What a recipe says: ``seeded_input((1, 3, 129, 257), 0)``, or labels with 255 for void, as uint8."""
    found = re.match(r"seeded_(input|labels)\(\((\d+(?:, \d+)*)\), (\d+)\)", call)
    assert found, call
    shape, seed = tuple(map(int, found[2].split(", "))), int(found[3])
    if found[1] == "input":
        return goldens.image(*shape, seed=seed).numpy()
    batch, height, width = shape
    return goldens.targets((batch, height, width), seed, 255).numpy().astype(np.uint8)


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}_label" for name in NAMES if name.startswith("train"))])
def test_inputs(name: str) -> None:
    recipe = goldens.data("inputs", "recipes.json")[name]
    ours = made(recipe["call"])
    assert (list(ours.shape), str(ours.dtype)) == (recipe["shape"], recipe["dtype"])
    assert hashlib.sha256(ours.tobytes()).hexdigest() == recipe["sha256"]
    with np.load(shared("golden", "peers", "inputs", "inputs.npz")) as stored:
        if name in stored.files:
            assert np.array_equal(stored[name], ours)
        else:
            assert np.array_equal(stored[f"{name}_sub64"], ours[:, :, ::64, ::64])


def test_every_input_is_tested() -> None:
    assert set(goldens.data("inputs", "recipes.json")) == {
        *NAMES,
        *(f"{name}_label" for name in NAMES if name.startswith("train")),
    }


@pytest.mark.parametrize("index", range(3))
def test_train_ids_are_those_of_the_label_ids(index: int) -> None:
    """Ours, made of the label ids, are cityscapesScripts'."""
    stem = f"frankfurt_000000_00000{index}_gtFine"
    folder = shared("golden", "peers", "metrics", "cityscapes", "gtFine", "val", "frankfurt")
    theirs = read_label_map(folder / f"{stem}_labelTrainIds.png")
    assert np.array_equal(read_truth(folder / f"{stem}_labelIds.png").train_ids, theirs)
    assert len(np.unique(theirs)) > 3
