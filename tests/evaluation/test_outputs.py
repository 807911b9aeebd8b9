"""The files of an image, and the zip for the test server."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.data.lists import Entry
from evaluation.report.server_submission import write_zip
from icnet_common.errors import InputError
from icnet_common.files import atomic_write
from pytorch_icnet.datasets.classes import CITYSCAPES, CITYSCAPES_TABLE, plain_table
from pytorch_icnet.imaging.draw import blend
from pytorch_icnet.imaging.images import read_image, read_label_map, write_label_map
from pytorch_icnet.outputs import Drawing, Outputs

from .test_pipeline import outputs_of

STEMS = ("ulm_000001_000019_leftImg8bit", "bonn_000000_000019")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for stem in STEMS:
        write_label_map(tmp_path / "gray" / f"{stem}.png", random.integers(0, 19, (8, 16), dtype=np.uint8))
    return tmp_path / "gray"


def entries(*stems: str) -> list[Entry]:
    return [Entry(f"i/{stem}.png", None, line) for line, stem in enumerate(stems, start=1)]


def test_zip_for_the_server(predictions: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", entries(*STEMS), predictions, CITYSCAPES_TABLE)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(f"{stem}.png" for stem in STEMS)
        for stem in STEMS:
            ids = cv2.imdecode(np.frombuffer(archive.read(f"{stem}.png"), np.uint8), cv2.IMREAD_UNCHANGED)
            assert ids is not None and ids.dtype == np.uint8 and ids.ndim == 2
            labels = read_label_map(predictions / f"{stem}.png")
            assert np.array_equal(ids, np.array([item.label_id for item in CITYSCAPES])[labels])


def test_equal_results_are_equal_zips(predictions: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", entries(*STEMS), predictions, CITYSCAPES_TABLE)
    for path in predictions.iterdir():
        path.touch()
    write_zip(tmp_path / "b.zip", entries(*reversed(STEMS)), predictions, CITYSCAPES_TABLE)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_other_names_and_missing_maps(predictions: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"i/a\.png: the test server knows images as CITY_SEQUENCE_FRAME"):
        write_zip(tmp_path / "a.zip", entries("a"), predictions, CITYSCAPES_TABLE)
    with pytest.raises((InputError, OSError)):
        write_zip(tmp_path / "a.zip", entries("ulm_000009_000009"), predictions, CITYSCAPES_TABLE)
    assert list(tmp_path.glob("*.zip")) == [] and list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_blend(alpha: float) -> None:
    image, colours = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    exact = (1 - alpha) * image + alpha * colours
    assert np.abs(blend(image, colours, alpha) - exact).max() <= 0.5 + 1e-4
    if alpha in (0.0, 1.0):
        assert np.array_equal(blend(image, colours, alpha), colours if alpha else image)


def test_palette_of_the_table(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, ("labels", "colour"), Drawing(plain_table(3)))
    labels = np.array([[0, 1, 2]], np.uint8)
    outputs.write("a", np.zeros((1, 3, 3), np.uint8), labels)
    assert np.array_equal(read_image(outputs.path("colour", "a")), plain_table(3).palette[labels])
    assert outputs.files("a") == [outputs.path("labels", "a"), outputs.path("colour", "a")]


def test_sweep_removes_only_what_a_killed_process_left(tmp_path: Path) -> None:
    outputs = outputs_of(tmp_path, "overlay", "probabilities")
    kept = []
    for path in [*outputs.files("a"), *outputs.files("b")]:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"half")
            temporary.with_name(temporary.name.replace(temporary.suffix, temporary.suffix)).touch()
            left = temporary.with_name(f".{path.stem}.x1y2z3_4{path.suffix}")
            left.write_bytes(b"half")
        kept += [path] if path.stem == "a" else [path, left]
    mine = tmp_path / "gray" / ".hidden.png"
    mine.write_bytes(b"")
    outputs.sweep({"a"})
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, mine}
