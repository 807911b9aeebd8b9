"""Compares with cityscapesScripts, live: ``make crosscheck``.

They run in an environment of their own, whose Python ``CROSSCHECK_PYTHON`` names. No part of the tests that run
everywhere: those compare with what the scripts once gave.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.data.labels import read_truth
from evaluation.protocols import Prediction, Result
from evaluation.protocols.cityscapes import Cityscapes
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, IGNORED
from pytorch_icnet.imaging.images import read_ids, read_label_map, write_label_map
from tests.evaluation.peers import assert_equal

from .annotations import write_annotation

NAMES = [f"city_{seed:06d}_000019" for seed in range(6)]
KINDS = ("labelIds.png", "instanceIds.png", "labelTrainIds.png", "polygons.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Annotations, label maps that are right in about half of the pixels, and what the scripts make of them."""
    made = tmp_path_factory.mktemp("crosscheck")
    for seed, name in enumerate(NAMES):
        write_annotation(made / f"{name}_gtFine_polygons.json", seed)
        write_label_map(made / f"{name}_pred.png", CITYSCAPES_TABLE.to_label_id[predicted(made, name)])
    python = os.environ.get("CROSSCHECK_PYTHON")
    assert python, "make crosscheck sets CROSSCHECK_PYTHON"
    script = Path(__file__).with_name("theirs.py")
    subprocess.run([python, str(script), str(made)], check=True, timeout=600)
    yield made


def predicted(folder: Path, name: str) -> Any:
    """TrainIds, uint8 HxW: noise over the truth."""
    truth = read_truth(folder / f"{name}_gtFine_polygons.json").train_ids
    random = np.random.default_rng(int(name.split("_")[1]))
    noise = random.integers(0, CITYSCAPES_TABLE.num_classes, truth.shape, dtype=np.uint8)
    keep = (random.random(truth.shape) < 0.5) & (truth != IGNORED)
    return np.where(keep, truth, noise)


def theirs(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def ours(folder: Path, kind: str) -> Result:
    """The result from one form of the labels."""
    protocol = Cityscapes()
    tally = protocol.tally()
    for index, name in enumerate(NAMES):
        truth = read_truth(folder / f"{name}_gtFine_{kind}", instances=True)
        tally.add(index, protocol.measure(Prediction(predicted(folder, name)), truth, name))
    return tally.result()


def test_label_table(folder: Path) -> None:
    table = {row[0]: row for row in theirs(folder)["labels_table"] if row[1] >= 0}
    assert list(table) == [entry.name for entry in CITYSCAPES_TABLE.entries]
    for entry in CITYSCAPES_TABLE.entries:
        name, label_id, train_id, category, _, has_instances, ignored, colour = table[entry.name]
        assert (entry.name, entry.label_id, entry.category) == (name, label_id, category)
        assert entry.train_id == (None if ignored else train_id)
        assert (entry.has_instances, list(entry.colour)) == (has_instances, colour)


@pytest.mark.parametrize("name", NAMES)
def test_polygons(folder: Path, name: str) -> None:
    """Every pixel of the three images that the scripts draw."""
    truth = read_truth(folder / f"{name}_gtFine_polygons.json", instances=True)
    assert truth.label_ids is not None and truth.instance_ids is not None
    assert np.array_equal(truth.instance_ids, read_ids(folder / f"{name}_gtFine_instanceIds.png"))
    assert np.array_equal(truth.label_ids, read_label_map(folder / f"{name}_gtFine_labelIds.png"))
    assert np.array_equal(truth.train_ids, read_label_map(folder / f"{name}_gtFine_labelTrainIds.png"))


@pytest.mark.parametrize("kind", KINDS)
def test_scores(folder: Path, kind: str) -> None:
    """Every figure, from every form of the labels."""
    reference, result = theirs(folder)["evaluation"], ours(folder, kind)
    for key, name in (
        ("mean_iou", "averageScoreClasses"),
        ("mean_instance_iou", "averageScoreInstClasses"),
        ("category_iou", "averageScoreCategories"),
        ("category_instance_iou", "averageScoreInstCategories"),
    ):
        assert_equal(result[key], reference[name], 1e-12, name)
    assert result.categories is not None
    for table, scores in ((result.classes, "class"), (result.categories, "category")):
        for column, name in (("iou", f"{scores}Scores"), ("instance_iou", f"{scores}InstScores")):
            expected = [None if np.isnan(reference[name][row]) else reference[name][row] for row in table.rows]
            assert_equal(table.columns[column], expected, 1e-12, name)
    ids = [entry.label_id for entry in CITYSCAPES_TABLE.scored]
    assert result.confusion.tolist() == np.array(reference["confMatrix"])[np.ix_(ids, ids)].tolist()


def test_a_changed_label_map_is_noticed(folder: Path) -> None:
    protocol = Cityscapes()
    tally = protocol.tally()
    for index, name in enumerate(NAMES):
        labels = predicted(folder, name)
        labels[40:44, 70:74] = 0
        truth = read_truth(folder / f"{name}_gtFine_labelIds.png", instances=True)
        tally.add(index, protocol.measure(Prediction(labels), truth, name))
    with pytest.raises(AssertionError):
        assert_equal(tally.result()["mean_iou"], theirs(folder)["evaluation"]["averageScoreClasses"], 1e-6)
