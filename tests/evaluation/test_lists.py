"""Lists of images are read as users write them, and their mistakes are named with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evaluation.data.lists import Entry, cityscapes_list, data_root, locate, read_list, refuse_equal_stems
from icnet_common.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.txt"


def test_with_labels(path: Path) -> None:
    path.write_text("i/a_leftImg8bit.png l/a.png\n\n  i/b.jpg\tl/b.png  \n")
    listed = read_list(path)
    assert listed.has_labels
    assert listed.entries == (Entry("i/a_leftImg8bit.png", "l/a.png", 1), Entry("i/b.jpg", "l/b.png", 3))
    assert [entry.stem for entry in listed.entries] == ["a_leftImg8bit", "b"]


def test_without_labels(path: Path) -> None:
    path.write_text("a.png\nb.png")
    listed = read_list(path)
    assert not listed.has_labels
    assert [entry.image for entry in listed.entries] == ["a.png", "b.png"]


def test_from_windows(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfi\\a.png l\\a.png\r\n\r\ni\\b.png l\\b.png\r\n")
    assert read_list(path).entries == (Entry("i/a.png", "l/a.png", 1), Entry("i/b.png", "l/b.png", 3))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("a.png,l.png", ("a.png", "l.png")),
        ("a.png , l.png", ("a.png", "l.png")),
        ("a.png,", ("a.png", None)),
        ('"my images/a 1.png" "my labels/a,1.png"', ("my images/a 1.png", "my labels/a,1.png")),
        ('"my images/a 1.png","l.png"', ("my images/a 1.png", "l.png")),
        ("it's.png l#1.png # the second frame", ("it's.png", "l#1.png")),
        ("a.png,#no label", ("a.png", None)),
        ('"i\\a 1.png"\tl\\a.png', ("i/a 1.png", "l/a.png")),
        ("\x85a\x0b.png", ("\x85a", ".png")),
    ],
)
def test_separators_quotes_and_comments(path: Path, line: str, names: tuple[str, str | None]) -> None:
    path.write_bytes(f"# image label\n\n  # another comment\r\n{line}\r\n".encode())
    (entry,) = read_list(path).entries
    assert (entry.image, entry.label, entry.line) == (*names, 4)


def test_names_that_are_not_utf8(path: Path, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xe4.png")).touch()
    path.write_bytes(b"\xe4.png\n")
    assert locate(tmp_path, read_list(path).entries[0].image).exists()


@pytest.mark.parametrize("name", ["val", "val.txt", "samplelist/val.txt"])
def test_bundled(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read_list(name).entries) == 500
    (tmp_path / "val").mkdir()
    assert len(read_list(name).entries) == 500
    (tmp_path / "samplelist").mkdir()
    for own in ("val.txt", "samplelist/val.txt"):
        (tmp_path / own).write_text("own.png\n")
    assert len(read_list(name).entries) == (500 if name == "val" else 1)


@pytest.mark.parametrize("name", ["nonsense", "other/val.txt", "val.csv", "samplelist/../secret"])
def test_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such list; the lists .*val come with the package"):
        read_list(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("\n \r\n", "the list is empty"),
        ("a.png l.png\nb.png c d\n", r"list.txt:2: 3 fields, expected `image label`"),
        ("a.png l.png\n\nb.png\n", r"list.txt:3: line 1 has a label and this one has none"),
        ("a.png\nb.png l.png\n", r"list.txt:2: this line has a label and the first has none"),
        ("a.png\0\n", "list.txt:1: a zero byte"),
        ("# nothing but a comment\n", "the list is empty"),
        ('a.png "l.png\n', "list.txt:1: a quote is not closed"),
        ('"a.png"l.png\n', "list.txt:1: a quote is not closed"),
        ('""\n', "list.txt:1: a quote is not closed"),
        ("a.png,,l.png\n", "list.txt:1: a comma without a name before it"),
        (",\n", "list.txt:1: a comma without a name before it"),
    ],
)
def test_wrong_lines(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_list(path)


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, expected a list"):
        read_list(tmp_path)


def test_locate(tmp_path: Path) -> None:
    below = tmp_path / "root" / "a.png"
    below.parent.mkdir()
    below.touch()
    assert locate(tmp_path / "root", "a.png") == below
    assert locate(tmp_path / "root", "/a.png") == below, "some lists begin their paths with a slash"
    assert locate(tmp_path / "elsewhere", str(below)) == below


def test_equal_stems(path: Path) -> None:
    path.write_text("x/a.png\ny/a.png\n")
    with pytest.raises(InputError, match=r"list.txt:2: .* a is also in line 1"):
        refuse_equal_stems(read_list(path).entries, path)
    path.write_text("x/a.png\ny/b.png\n")
    refuse_equal_stems(read_list(path).entries, path)


def test_what_is_too_long_for_a_list(path: Path) -> None:
    path.write_text("a.png\n" + "a " * 200_000)
    with pytest.raises(InputError, match=r"list.txt:2: a line of 400000 characters"):
        read_list(path)
    path.write_text("\n" * 2_000_001)
    with pytest.raises(InputError, match="more than 1000000 lines"):
        read_list(path)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Empty files in Cityscapes' layout: in val, labels in each of their forms and one image without."""
    for name in (
        "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png",
        "leftImg8bit/val/aachen/aachen_000001_000019_leftImg8bit.png",
        "leftImg8bit/val/aachen/aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/val/aachen/notes.txt",
        "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png",
        "gtFine/val/aachen/aachen_000000_000019_gtFine_labelTrainIds.png",
        "gtFine/val/aachen/aachen_000000_000019_gtFine_labelIds.png",
        "gtFine/val/aachen/aachen_000001_000019_gtFine_polygons.json",
        "gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_walking_cityscapes(cityscapes: Path) -> None:
    listed = cityscapes_list(cityscapes, "val")
    assert listed.has_labels
    assert [(entry.image.split("/")[-1], (entry.label or "").split("/")[-1]) for entry in listed.entries] == [
        ("aachen_000000_000019_leftImg8bit.png", "aachen_000000_000019_gtFine_labelTrainIds.png"),
        ("aachen_000001_000019_leftImg8bit.png", "aachen_000001_000019_gtFine_polygons.json"),
        ("bonn_000000_000019_leftImg8bit.png", "bonn_000000_000019_gtFine_labelTrainIds.png"),
    ]
    assert locate(cityscapes, listed.entries[1].label or "").is_file()
    assert not locate(cityscapes, listed.entries[2].label or "").is_file(), "missing labels are the caller's to report"


@pytest.mark.parametrize("split", ["test", "train"])
def test_walking_without_labels(cityscapes: Path, split: str) -> None:
    assert not cityscapes_list(cityscapes, split).has_labels


def test_walking_elsewhere(cityscapes: Path) -> None:
    with pytest.raises(InputError, match="expected Cityscapes' root"):
        cityscapes_list(cityscapes / "gtFine", "val")
    with pytest.raises(InputError, match=r"no split '\.\./val'"):
        cityscapes_list(cityscapes, "../val")
    (cityscapes / "leftImg8bit" / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \*/\*_leftImg8bit.png"):
        cityscapes_list(cityscapes, "empty")


def test_a_walk_and_a_list_of_the_same_files_are_the_same(cityscapes: Path, path: Path) -> None:
    listed = cityscapes_list(cityscapes, "val")
    path.write_text("# val\n" + "".join(f'"{entry.image}", {entry.label}\r\n' for entry in listed.entries))
    assert read_list(path).sha256 == listed.sha256
    path.write_text(f"{listed.entries[0].image} {listed.entries[0].label}\n")
    assert read_list(path).sha256 != listed.sha256


def test_the_root_of_the_data(tmp_path: Path) -> None:
    environment = {"CITYSCAPES_DATASET": str(tmp_path)}
    assert data_root(None, environment) == tmp_path
    assert data_root("elsewhere", environment) == Path("elsewhere")
    assert data_root(None, {}) == data_root(None, {"CITYSCAPES_DATASET": ""}) == Path()
    with pytest.raises(InputError, match="CITYSCAPES_DATASET is /nowhere, which is no folder"):
        data_root(None, {"CITYSCAPES_DATASET": "/nowhere"})
