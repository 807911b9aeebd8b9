"""Polygon annotations are drawn as cityscapesScripts draws them; files from anyone do no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from evaluation.data.labels import read_truth
from evaluation.data.polygons import draw
from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, plain_table
from pytorch_icnet.imaging.images import read_ids, read_label_map

DRAWN = Path(__file__).parent / "data" / "polygons"
BASE = "gen_000000_000000_gtFine_"


def write(path: Path, objects: Any, height: Any = 20, width: Any = 30) -> Path:
    path.write_text(json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects}))
    return path


def box(label: str, left: int, top: int, right: int, bottom: int, **more: Any) -> dict[str, Any]:
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a_gtFine_polygons.json"


def test_every_pixel_is_cityscapes_own() -> None:
    """The images beside the annotation are what cityscapesScripts 2.2.4 made of it."""
    truth = read_truth(DRAWN / f"{BASE}polygons.json", instances=True)
    assert truth.instance_ids is not None and truth.label_ids is not None
    assert np.array_equal(truth.instance_ids, read_ids(DRAWN / f"{BASE}instanceIds.png"))
    assert np.array_equal(truth.label_ids, read_label_map(DRAWN / f"{BASE}labelIds.png"))
    assert np.array_equal(truth.train_ids, read_label_map(DRAWN / f"{BASE}labelTrainIds.png"))


def test_opencv_would_draw_other_pixels() -> None:
    """Why Pillow draws: the same polygons filled by OpenCV differ along their edges."""
    data = json.loads((DRAWN / f"{BASE}polygons.json").read_text())
    image = np.zeros((data["imgHeight"], data["imgWidth"]), np.uint8)
    for item in data["objects"]:
        name = item["label"] if item["label"] in CITYSCAPES_TABLE.by_name else item["label"].removesuffix("group")
        if not item.get("deleted") and name in CITYSCAPES_TABLE.by_name:
            cv2.fillPoly(image, [np.array(item["polygon"], np.int32)], CITYSCAPES_TABLE.by_name[name].label_id)
    different = (image != read_label_map(DRAWN / f"{BASE}labelIds.png")).mean()
    assert 0.001 < different < 0.1


def test_what_is_drawn(path: Path) -> None:
    objects = [
        box("road", 0, 0, 29, 19),
        box("car", 1, 1, 4, 4),
        box("cargroup", 6, 1, 9, 4),
        box("car", 11, 1, 14, 4, deleted=1),
        box("car", 16, 1, 19, 4),
        box("license plate", 17, 2, 18, 3),
        box("polegroup", 21, 1, 24, 4),
        box("person", 40, 40, 50, 50),
        box("person", 1, 10, 4, 14, deleted=0),
    ]
    ids = draw(write(path, objects), CITYSCAPES_TABLE)
    assert ids.shape == (20, 30)
    assert ids.dtype == np.int32
    places = {(3, 3): 26000, (3, 7): 26, (3, 12): 7, (3, 17): 26001, (3, 22): 18, (12, 2): 24001, (19, 29): 7}
    assert {place: int(ids[place]) for place in places} == places


def test_nothing_drawn_is_unlabelled(path: Path) -> None:
    truth = read_truth(write(path, []), instances=True)
    assert truth.label_ids is not None
    assert not truth.label_ids.any()
    assert (truth.train_ids == 255).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a polygon annotation"),
        ("[]", "not a polygon annotation"),
        ("{}", "no 'imgHeight'"),
        ("[" * 100_000, "not a polygon annotation"),
        ('{"imgHeight": 2, "imgWidth": 3}', "no 'objects'"),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": 5}', "not a polygon annotation"),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": [[]]}', "not a polygon annotation"),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": [{"polygon": [[0, 0], [1, 1]]}]}', "no 'label'"),
        (
            '{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[0, 0]]}]}',
            "fewer than two points",
        ),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[0], [1]]}]}', "not a polygon"),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": "abcd"}]}', "not a polygon"),
        (
            '{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[NaN, 1], [2, 2]]}]}',
            "far outside",
        ),
        (
            '{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[1e9, 1], [2, 2]]}]}',
            "far outside",
        ),
        ('{"imgHeight": 2, "imgWidth": 3, "objects": [{"label": "ufo", "polygon": [[1, 1], [2, 2]]}]}', "called 'ufo'"),
        ('{"imgHeight": 0, "imgWidth": 3, "objects": []}', "whole numbers of pixels"),
        ('{"imgHeight": 2.5, "imgWidth": 3, "objects": []}', "whole numbers of pixels"),
        ('{"imgHeight": true, "imgWidth": 3, "objects": []}', "whole numbers of pixels"),
        ('{"imgHeight": 1e999, "imgWidth": 3, "objects": []}', "whole numbers of pixels"),
        ('{"imgHeight": ' + "9" * 5000 + ', "imgWidth": 3, "objects": []}', "not a polygon annotation"),
        ('{"imgHeight": 1000000, "imgWidth": 1000000, "objects": []}', "more than the 134217728 allowed"),
        ("\xff\xfe", "not a polygon annotation"),
    ],
)
def test_damaged_files(path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        draw(path, CITYSCAPES_TABLE)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 600


def test_too_much_to_draw(path: Path) -> None:
    """Refused before anything is drawn."""
    whole = box("road", 0, 0, 11000, 11000)
    write(path, [whole] * 1000, 11000, 11000)
    with pytest.raises(InputError, match="too many or too large"):
        draw(path, CITYSCAPES_TABLE)
    many = {"label": "road", "polygon": [[i % 2, 0] for i in range(100_000)]}
    with pytest.raises(InputError, match="too many or too large"):
        draw(write(path, [many]), CITYSCAPES_TABLE)
    path.write_bytes(b" " * (1 << 22) + b"[]")
    with pytest.raises(InputError, match="too large for an annotation"):
        draw(path, CITYSCAPES_TABLE)


def test_too_many_instances(path: Path) -> None:
    with pytest.raises(InputError, match="more than 1000 instances of car"):
        draw(write(path, [box("car", 1, 1, 2, 2)] * 1001), CITYSCAPES_TABLE)


def test_tables_of_ones_own(path: Path) -> None:
    table = plain_table(3)
    write(path, [box("class 2", 1, 1, 4, 4)])
    assert draw(path, table)[2, 2] == 2
    write(path, [box("car", 1, 1, 4, 4)])
    with pytest.raises(InputError, match="'car', which is no class of the table"):
        draw(path, table)
