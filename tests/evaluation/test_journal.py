"""The journal: what is finished is recognised, whatever stopped the run that wrote it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.protocols import ImageStats
from evaluation.run.journal import SETTINGS, Finished, Journal, still_whole
from icnet_common.errors import InputError
from icnet_common.files import digest


def image(name: str = "a.png") -> Finished:
    labels = np.array([[0, 1, 255]], np.uint8)
    record = ImageStats.of(name, np.zeros((1, 3), np.uint8), labels, truncated_correct=2)
    return Finished(name, {"image": "1" * 64}, {"gray/a.png": "2" * 64}, {"official": record})


def test_lines_come_back() -> None:
    for name in ("a.png", "ä b.png", "a\udcff.png"):
        before = image(name)
        after = Finished.from_line(before.as_line())
        assert (after.image, after.inputs, after.files) == (name, before.inputs, before.files)
        assert after.records["official"].as_data() == before.records["official"].as_data()


@given(st.data())
def test_damaged_lines_are_refused(data: st.DataObject) -> None:
    line = bytearray(image().as_line())
    if data.draw(st.booleans()):
        del line[data.draw(st.integers(0, len(line) - 1)) :]
    else:
        line[data.draw(st.integers(0, len(line) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        Finished.from_line(bytes(line))


def test_cut_off_line_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    """As after kill -9 in the middle of a line, twice."""
    path = tmp_path / "journal.0.jsonl"
    for name in ("a.png", "b.png"):
        journal = Journal(tmp_path)
        journal.add(image(name))
        journal.close()
        with path.open("ab") as stream:
            stream.write(image("c.png").as_line()[:-9])
    assert set(Journal(tmp_path).finished()) == {"a.png", "b.png"}


def test_processes_read_each_others_files(tmp_path: Path) -> None:
    for rank, name in enumerate(("a.png", "b.png")):
        journal = Journal(tmp_path, rank)
        journal.add(image(name))
        journal.close()
    finished = Journal(tmp_path, 2).finished()
    assert len(finished) == 2 and finished["b.png"].image == "b.png"


def test_a_new_run_forgets(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin({"weights": "1"}, resume=False)
    journal.add(image())
    journal.close()
    Journal(tmp_path).begin({"weights": "1"}, resume=True)
    assert "a.png" in Journal(tmp_path).finished()
    Journal(tmp_path).begin({"weights": "1"}, resume=False)
    assert not Journal(tmp_path).finished()


def test_other_settings_are_named(tmp_path: Path) -> None:
    Journal(tmp_path).begin({"weights": "1", "size": (1, 2), "long": ["x" * 99]}, resume=False)
    with pytest.raises(InputError, match=r"other settings \(weights 1, now 2; precision none, now float32\)"):
        Journal(tmp_path).begin(
            {"weights": "2", "size": (1, 2), "long": ["x" * 99], "precision": "float32"}, resume=True
        )
    with pytest.raises(InputError, match=r"\(long\)"):
        Journal(tmp_path).begin({"weights": "1", "size": (1, 2), "long": []}, resume=True)
    (tmp_path / SETTINGS).write_text("[]")
    with pytest.raises(InputError, match="not known which"):
        Journal(tmp_path).begin({}, resume=True)


def test_still_whole(tmp_path: Path) -> None:
    source, made = tmp_path / "image.png", tmp_path / "out" / "gray" / "a.png"
    made.parent.mkdir(parents=True)
    source.write_bytes(b"image")
    made.write_bytes(b"label map")
    root = tmp_path / "out"
    finished = Finished("image.png", {"image": digest(source)}, {"gray/a.png": digest(made)})
    assert still_whole(finished, root, {"image": source}, [made])
    assert not still_whole(finished, root, {"image": source, "label": source}, [made]), "now there is a label"
    assert not still_whole(finished, root, {"image": source}, [made, root / "color" / "a.png"]), "more files wanted"
    made.write_bytes(b"label mop")
    assert not still_whole(finished, root, {"image": source}, [made])
    made.unlink()
    assert not still_whole(finished, root, {"image": source}, [made])
    made.write_bytes(b"label map")
    source.write_bytes(b"another image")
    assert not still_whole(finished, root, {"image": source}, [made])


def test_what_has_not_mattered_yet_may_be_set(tmp_path: Path) -> None:
    for alpha, resume in ((None, False), (0.5, True), (None, True)):
        Journal(tmp_path).begin({"alpha": alpha}, resume=resume)
    with pytest.raises(InputError, match=r"alpha 0\.5, now 0\.2"):
        Journal(tmp_path).begin({"alpha": 0.2}, resume=True)
