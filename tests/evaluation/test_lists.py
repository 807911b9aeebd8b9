"""Lists of images are read as users write them, and their mistakes are named with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evaluation.lists import Entry, locate, read_list, refuse_equal_stems
from prototxt.errors import InputError


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
