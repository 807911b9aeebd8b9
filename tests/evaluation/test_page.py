"""The HTML report: right numbers, nothing from elsewhere, nothing unescaped, and a browser shows it."""

from __future__ import annotations

import html.parser
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.protocols import GroundTruth, MetricAccumulator, Prediction, ProtocolSettings, protocol
from evaluation.report import confusion, pictures
from evaluation.report import html as report_html
from pytorch_icnet.datasets.classes import CITYSCAPES_TABLE, plain_table
from pytorch_icnet.imaging.images import write_label_map

EVIL = "<script>alert('1')</script>&\"x"

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


class Tags(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def tally(*names: str, classes: int = 19) -> MetricAccumulator:
    official = protocol("official", ProtocolSettings(table=plain_table(classes)))
    found = official.tally()
    random = np.random.default_rng(0)
    for index, name in enumerate(names):
        label = random.integers(0, classes, (8, 16), dtype=np.uint8)
        prediction = np.where(random.random((8, 16)) < 0.8, label, 0).astype(np.uint8)
        found.add(index, official.measure(Prediction(prediction), GroundTruth(label), name))
    return found


def data(**more: Any) -> dict[str, Any]:
    return {
        "predictions": "folder",
        "protocols": [{"name": "official", "source": "here"}],
        "list": {"file": "list.txt", "lines": 3, "sha256": "0" * 64},
        "settings": {"skip": 0},
        "versions": {"pytorch-icnet": "1"},
        **more,
    }


def test_everything_is_escaped() -> None:
    result = tally(EVIL).result()
    tile = pictures.Tiles(EVIL, 0.5, "data:image/png;base64,", "", "", "")
    page = report_html.page(
        data(predictions=EVIL, published=None), [result], CITYSCAPES_TABLE, [report_html.Pictures("Worst", [tile])]
    )
    tags = Tags(page)
    assert "script" not in {tag for tag, _ in tags.tags}
    assert tags.text.count(EVIL) == 3, "title, heading and picture"


def test_nothing_comes_from_elsewhere() -> None:
    page = report_html.page(data(published=None), [tally("a", "b").result()], CITYSCAPES_TABLE, [])
    for tag, attributes in Tags(page).tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/")
    assert not re.search(r"url\(|@import|https?://", page)


def test_numbers_of_classes() -> None:
    result = tally("a", "b", "c").result()
    text = re.sub(r"\s+", " ", Tags(report_html.page(data(published=None), [result], CITYSCAPES_TABLE, [])).text)
    for name, iou in zip(result.classes.rows, result.classes.columns["iou"], strict=True):
        assert f"{name} {100 * iou:.2f} %" in text


def test_published_figures_stand_beside() -> None:
    published = {
        "weights": "w.caffemodel",
        "split": "val",
        "source": "there",
        "mean_iou": {"published": 67.7, "measured": 67.65, "difference": -0.05},
        "pixel_accuracy": {"published": None, "measured": 90.0, "difference": None},
    }
    page = report_html.page(data(published=published), [tally("a").result()], CITYSCAPES_TABLE, [])
    text = re.sub(r"\s+", " ", Tags(page).text)
    assert "mean IoU 67.7 % 67.65 % -0.05" in text and "None" not in text


@pytest.mark.parametrize("classes", [2, 19, 150])
def test_confusion_picture(classes: int) -> None:
    result = tally("a", classes=classes).result()
    picture = confusion.picture(result)
    assert bool(picture.cells) == (classes <= 32)
    for row in {cell.row for cell in picture.cells}:
        shares = [cell.percent for cell in picture.cells if cell.row == row]
        assert math.isclose(sum(shares), 100)
    assert report_html.page(data(published=None), [result], plain_table(classes), [])


def test_row_without_pixels() -> None:
    shares = confusion.row_shares(np.array([[0, 0], [3, 1]]))
    assert shares.tolist() == [[0, 0], [0.75, 0.25]]


def test_worst_and_best_do_not_overlap() -> None:
    result = tally(*"abcdefg").result()
    worst, best = pictures.extremes(result, 4)
    assert len(worst) == 4 and len(best) == 3
    assert not {image.name for image in worst} & {image.name for image in best}
    accuracies = [image.accuracy for image in [*worst, *reversed(best)]]
    assert accuracies == sorted(accuracies)


def test_error_picture() -> None:
    truth = np.array([[0, 1, 255, 254]], np.uint8)
    found = pictures.errors(np.array([[0, 2, 0, 0]], np.uint8), truth)
    assert found.tolist() == [[list(pictures.RIGHT), list(pictures.WRONG), *[list(pictures.IGNORED)] * 2]]


def make_results(root: Path) -> Path:
    """Two images, labels and predictions of one colour each; returns the page about them."""
    for name, (colour, label) in {"a": ((200, 30, 30), 11), "b": ((30, 30, 200), 13)}.items():
        image = np.full((256, 512, 3), colour, np.uint8)
        (root / "i").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "i" / f"{name}.png"), image[..., ::-1])
        labels = np.full((256, 512), label, np.uint8)
        write_label_map(root / "l" / f"{name}.png", labels)
        labels[:, 256:] = 10
        write_label_map(root / "gray" / f"{name}.png", labels)
    (root / "list.txt").write_text("i/a.png l/a.png\ni/b.png l/b.png\n")
    arguments = ["--list", "list.txt", "--data-root", ".", "--score-only", "gray", "--html", "page.html"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return root / "page.html"


def test_pictures_are_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = [attributes["src"] for tag, attributes in Tags(make_results(tmp_path).read_text()).tags if tag == "img"]
    assert len(images) == 8
    assert all(image is not None and image.startswith("data:image/") for image in images)


def near(shot: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> float:
    """The share of pixels that have nearly this colour (red, green, blue)."""
    difference = np.abs(shot[..., ::-1].astype(int) - colour).max(axis=-1)
    return float((difference <= 12).mean())


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_a_browser_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = make_results(tmp_path)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1240,3000"]
    command += [f"--user-data-dir={tmp_path / 'browser'}", f"--screenshot={tmp_path / 'shot.png'}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    shot = cv2.imread(str(tmp_path / "shot.png"))
    assert shot is not None and shot.shape == (3000, 1240, 3)
    shown = np.asarray(shot, np.uint8)
    tile = 270 * 135 / (1240 * 3000)
    for colour in ((200, 30, 30), (30, 30, 200)):  # the photographs
        assert near(shown, colour) > 0.7 * tile
    palette = CITYSCAPES_TABLE.palette
    for label in (11, 13):  # the whole label, and half of the prediction
        red, green, blue = palette[label].tolist()
        assert near(shown, (red, green, blue)) > 0.7 * 1.5 * tile
    assert near(shown, pictures.WRONG) > 0.7 * tile, "half of each error picture"
    half = confusion.colours(np.array(0.5)).tolist()
    assert near(shown, (half[0], half[1], half[2])) > 0.5 * 4 * 40 * 40 / (1240 * 3000), "half of each class is right"
