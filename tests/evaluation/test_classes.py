"""Tables of classes are read as people write them, and their mistakes are named with the row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icnet_common.errors import InputError
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, PALETTE, ClassEntry, plain_table
from pytorch_icnet.datasets.tables import read_table

CAMVID = """id,name,colour,train_id,ignore
0,Sky,128 128 128,0,false
1,Building,#800000,1,false
2,Pole,"192,192,128",2,false
11,Void,0 0 0,255,true
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "camvid.csv"


def test_csv(path: Path) -> None:
    path.write_text(CAMVID)
    table = read_table(path)
    assert (table.name, table.num_classes, table.names) == ("camvid", 3, ("Sky", "Building", "Pole"))
    assert table.entries[1] == ClassEntry(1, "Building", (128, 0, 0), 1)
    assert table.entries[3].train_id is None
    assert table.to_train_id[[0, 1, 2, 11, 5]].tolist() == [0, 1, 2, 255, 255]
    assert table.palette[:3].tolist() == [[128, 128, 128], [128, 0, 0], [192, 192, 128]]
    assert table.from_file and not CITYSCAPES_TABLE.from_file


def test_from_windows(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + CAMVID.replace("\n", "\r\n").encode() + b"\r\n")
    assert read_table(path).names == ("Sky", "Building", "Pole")


@pytest.mark.parametrize("wrapped", [False, True])
def test_json(path: Path, wrapped: bool) -> None:
    rows = [
        {"id": 0, "name": "other", "ignore": True},
        {"id": 1, "name": "wall", "color": [120, 120, 120]},
        {"id": 2, "name": "building", "color": "#b47878", "category": "construction", "hasInstances": True},
    ]
    path.write_text(json.dumps({"classes": rows} if wrapped else rows))
    table = read_table(path)
    assert table.names == ("wall", "building")
    assert table.entries[2] == ClassEntry(2, "building", (180, 120, 120), 1, "construction", True)


def test_names_alone(path: Path) -> None:
    path.write_text("name\n" + "".join(f"thing {i}\n" for i in range(150)))
    table = read_table(path)
    assert table.num_classes == 150
    assert table.entries[149] == ClassEntry(149, "thing 149", tuple(PALETTE[149].tolist()), 149)


def test_cityscapes_own_names_for_the_columns(path: Path) -> None:
    header = "name,id,trainId,category,hasInstances,ignoreInEval,color"
    rows = [
        f"{e.name},{e.label_id},{255 if e.train_id is None else e.train_id},{e.category},{e.has_instances},"
        f'{e.train_id is None},"{e.colour}"'
        for e in CITYSCAPES_TABLE.entries
    ]
    path.write_text("\n".join([header, *rows]))
    assert read_table(path).entries == CITYSCAPES_TABLE.entries


def test_several_ids_of_one_class(path: Path) -> None:
    path.write_text("id,name,train_id\n4,car,0\n5,van,0\n6,tree,1\n7,lost,-1\n8,void,\n")
    table = read_table(path)
    assert (table.names, table.num_classes) == (("car", "tree"), 2)
    assert table.to_train_id[[4, 5, 6, 7, 8]].tolist() == [0, 0, 1, 255, 255]
    assert table.to_label_id[[0, 1]].tolist() == [4, 6], "predictions are written as the first"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class is scored"),
        ("name\n", "no class is scored"),
        ("name,ignore\na,1\n", "no class is scored"),
        ("id,title\n0,a\n", "row 1: expected a name"),
        ("id,name\n0,\n", "row 1: expected a name"),
        ("id,name\n0,a\n0,b\n", "the id 0 is there twice"),
        ("id,name\n0,a\n1,a\n", "the name a is there twice"),
        ("id,name\n256,a\n", "row 1: id '256', expected 0 to 255"),
        ("id,name\nx,a\n", "row 1: id 'x'"),
        ("id,name\n1,a,b\n", "row 1 has 3 fields, the header 2"),
        ("name,train_id\na,0\nb,2\n", r"train_ids run from 0 .* without gaps, not \[0, 2\]"),
        ("name,train_id\na,1000\n", "row 1: train_id '1000'"),
        ("name,colour\na,1 2\n", "row 1: colour '1 2', expected red, green and blue"),
        ("name,colour\na,1 2 300\n", "row 1: colour '300'"),
        ("name,ignore\na,perhaps\n", "row 1: 'perhaps' is neither true nor false"),
        ('name\n"a\x07b"\n', "row 1: expected a name"),
        ("name\n" + "a" * 101, "row 1: expected a name"),
        ("name\n" + "a" * 200_000, "field larger than field limit"),
        ("[", "not a table of classes"),
        ("[" * 100_000, "not a table of classes"),
        ('{"labels": []}', "not a table of classes"),
        ("[1]", "not a table of classes"),
        ('[{"name": "a", "id": 1.5}]', "id '1.5'"),
        ('[{"name": "a", "id": true}]', "id 'True'"),
        ('[{"name": "a", "colour": [1, 2]}]', "colour"),
        ('[{"name": "a", "colour": 5}]', "not a table of classes"),
        ("name\n" + "".join(f"{i}\n" for i in range(255)), "at most 253 without gaps"),
        ("name\n" + "".join(f"{i}\n" for i in range(300)), "300 rows; 8-bit labels hold 256 ids"),
        ("\xff", "not a table of classes"),
    ],
)
def test_wrong_tables(path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))


def test_missing_and_enormous_files(path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_table(path)
    path.write_bytes(b"name\n" + b"a\n" * (1 << 20))
    with pytest.raises(InputError, match="too large for a table"):
        read_table(path)


@pytest.mark.parametrize("count", [0, 255])
def test_numbers_of_classes(count: int) -> None:
    with pytest.raises(InputError, match="hold 1 to 254"):
        plain_table(count)


def test_plain_tables() -> None:
    assert plain_table(19) is CITYSCAPES_TABLE
    table = plain_table(254)
    assert (table.num_classes, table.names[253]) == (254, "class 253")
    assert table.to_train_id[:254].tolist() == list(range(254))
