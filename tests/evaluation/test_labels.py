"""Labels in all of Cityscapes' forms become the same, and the wrong form is named instead of scored."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import evaluation
from evaluation.data.labels import KINDS, find_label, kind_of, read_truth
from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES, CITYSCAPES_TABLE, plain_table
from pytorch_icnet.datasets.tables import read_table
from pytorch_icnet.imaging.images import read_label_map, write_label_map
from tests.golden import shared

DRAWN = Path(__file__).parent / "data" / "polygons"
BASE = "gen_000000_000000_gtFine_"
FORMS = ("labelTrainIds.png", "labelIds.png", "instanceIds.png", "polygons.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image's labels in their four forms."""
    for form in FORMS:
        shutil.copy(DRAWN / (BASE + form), tmp_path / (BASE + form))
    return tmp_path


def label_map(path: Path, values: object) -> Path:
    write_label_map(path, np.array(values, np.uint8))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same(folder: Path, form: str) -> None:
    """Each with the others beside it, for any protocol; and alone, for protocols that need trainIds."""
    expected = read_label_map(folder / f"{BASE}labelTrainIds.png")
    whole = read_truth(folder / (BASE + form), instances=True)
    assert whole.label_ids is not None and whole.instance_ids is not None
    assert np.array_equal(whole.train_ids, expected)
    assert np.array_equal(whole.label_ids, read_label_map(folder / f"{BASE}labelIds.png"))
    assert int(whole.instance_ids.max()) > 24000
    for other in FORMS:
        if other != form:
            (folder / (BASE + other)).unlink()
    assert np.array_equal(read_truth(folder / (BASE + form)).train_ids, expected)


@pytest.mark.parametrize("form", FORMS[1:])
def test_labels_that_lie_there_in_another_form(folder: Path, form: str) -> None:
    """Cityscapes' lists name trainIds, which everybody has to make for themselves."""
    expected = read_label_map(folder / f"{BASE}labelTrainIds.png")
    for other in FORMS:
        if other != form:
            (folder / (BASE + other)).unlink()
    listed = folder / f"{BASE}labelTrainIds.png"
    assert find_label(listed) == folder / (BASE + form)
    assert np.array_equal(read_truth(listed).train_ids, expected)


def test_no_label_at_all(tmp_path: Path) -> None:
    assert find_label(tmp_path / f"{BASE}labelTrainIds.png") is None
    assert find_label(tmp_path / "a.png") is None
    with pytest.raises(InputError, match=r"labelTrainIds\.png: no such label"):
        read_truth(tmp_path / f"{BASE}labelTrainIds.png")


@pytest.mark.parametrize("form", FORMS[:2])
def test_instances_that_are_not_there(folder: Path, form: str) -> None:
    (folder / f"{BASE}instanceIds.png").unlink()
    read_truth(folder / (BASE + form), instances=True)
    (folder / f"{BASE}polygons.json").unlink()
    with pytest.raises(InputError, match=r"neither _instanceIds\.png nor _polygons\.json lies beside it"):
        read_truth(folder / (BASE + form), instances=True)


def test_kinds_by_name() -> None:
    assert tuple(kind_of(BASE + form) for form in FORMS) == KINDS
    assert (kind_of("a.png"), kind_of("a.json")) == ("trainIds", "polygons")


def test_the_kind_can_be_said(tmp_path: Path) -> None:
    path = label_map(tmp_path / "a.png", [[7, 26, 0]])
    assert read_truth(path, kind="labelIds").train_ids.tolist() == [[0, 13, 255]]
    with pytest.raises(InputError, match="no kind of labels 'ids'; there are trainIds, labelIds"):
        read_truth(path, kind="ids")


LABEL_IDS = [[0, 1, 2, 3, 7, 8, 11, 23, 26, 33]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (LABEL_IDS, r"holds labelIds \(up to 33, none ignored\), expected trainIds: 0 to 18, and 255"),
        ([[7, 8, 21]], "holds labelIds"),
        ([[0, 19]], "holds labelIds"),
        ([[0, 18, 19, 255]], "holds 19, expected trainIds: 0 to 18"),
        ([[0, 40, 50, 253]], "holds 40, 50, 253, expected trainIds"),
        ([[*range(34, 44)]], r"holds 34, 35, 36, 37, 38, \.\.\., expected trainIds"),
    ],
)
def test_what_cannot_be_train_ids(tmp_path: Path, values: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_truth(label_map(tmp_path / "a_labelTrainIds.png", values))


@pytest.mark.parametrize("values", [[[0, 18, 255]], [[0, 18, 254]], [[0, 7, 18]], [[255, 255]]])
def test_what_can_be_train_ids(tmp_path: Path, values: object) -> None:
    assert read_truth(label_map(tmp_path / "a_labelTrainIds.png", values)).train_ids.tolist() == values


def test_void_as_zero(tmp_path: Path) -> None:
    """ADE20K's annotations: 0 is nothing, 1 to 150 are classes."""
    path = label_map(tmp_path / "a.png", [[0, 1, 75, 150]])
    with pytest.raises(InputError, match="holds 0 to 150, as if 0 were what is ignored"):
        read_truth(path, plain_table(150))


def test_train_ids_called_label_ids(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 255, no id of Cityscapes; are these trainIds"):
        read_truth(label_map(tmp_path / "a_labelIds.png", [[0, 18, 255]]))


def test_every_id_of_cityscapes() -> None:
    table = CITYSCAPES_TABLE
    assert [entry.label_id for entry in table.entries] == list(range(34))
    assert table.names == tuple(item.name for item in CITYSCAPES)
    ids = np.arange(34, dtype=np.uint8)
    train_ids = table.to_train_id[ids]
    scored = train_ids != 255
    assert scored.sum() == 19
    assert table.to_label_id[train_ids[scored]].tolist() == ids[scored].tolist()


def test_scoring_names_label_ids(tmp_path: Path) -> None:
    """The official scoring, which would have counted everything above 18 as bicycles."""
    label_map(tmp_path / "gt" / "a.png", LABEL_IDS)
    label_map(tmp_path / "gray" / "a.png", np.zeros((1, 10)))
    (tmp_path / "list.txt").write_text("a.png gt/a.png\n")
    with pytest.raises(InputError, match=r"gt/a\.png: holds labelIds"):
        evaluation.score(tmp_path / "gray", tmp_path / "list.txt", tmp_path)
    assert evaluation.score(tmp_path / "gray", tmp_path / "list.txt", tmp_path, 34).labelled == 10


def test_sixteen_bits(tmp_path: Path) -> None:
    ids: npt.NDArray[np.uint16] = np.array([[7, 26000, 26001, 24000, 1]], np.uint16)
    path = tmp_path / "a_gtFine_instanceIds.png"
    cv2.imwrite(str(path), ids)
    truth = read_truth(path, instances=True)
    assert truth.instance_ids is not None and truth.label_ids is not None
    assert truth.instance_ids.tolist() == ids.tolist()
    assert truth.label_ids.tolist() == [[7, 26, 26, 24, 1]]
    assert truth.train_ids.tolist() == [[0, 13, 13, 11, 255]]
    with pytest.raises(InputError, match="16 bits per pixel"):
        read_truth(shutil.copy(path, tmp_path / "a_gtFine_labelIds.png"))
    cv2.imwrite(str(path), np.full((2, 2), 999, np.uint16))
    with pytest.raises(InputError, match="the id 999 is neither a label's nor an instance's"):
        read_truth(path)


@pytest.mark.parametrize("form", FORMS[:3])
def test_damaged_images(folder: Path, form: str) -> None:
    path = folder / (BASE + form)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:60] + b"x" + whole[61:], b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=form):
            read_truth(path)
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="an image with colours"):
        read_truth(path)


def test_real_labels_are_train_ids() -> None:
    labels = sorted((shared("data", "cityscapes3") / "gtFine").rglob("*.png"))
    assert len(labels) == 3
    for path in labels:
        truth = read_truth(path)
        with pytest.raises(InputError, match="holds labelIds"):
            CITYSCAPES_TABLE.check_train_ids(CITYSCAPES_TABLE.to_label_id[truth.train_ids], path)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """Labels of a data set with its own table hold its ids."""
    (tmp_path / "classes.csv").write_text("name,ignore\nnothing,1\ntree,0\nlake,0\n")
    table = read_table(tmp_path / "classes.csv")
    path = label_map(tmp_path / "a.png", [[0, 1, 2]])
    assert read_truth(path, table).train_ids.tolist() == [[255, 0, 1]]
    assert read_truth(label_map(path, [[0, 1, 255]]), table, kind="trainIds").train_ids.tolist() == [[0, 1, 255]]
    with pytest.raises(InputError, match="holds 3, no id of classes"):
        read_truth(label_map(path, [[3]]), table)
