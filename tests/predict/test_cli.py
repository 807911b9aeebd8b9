"""icnet-predict from the user's side: files, their contents, messages and exit codes."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy.io import loadmat

from pytorch_icnet.datasets.classes import PALETTE
from pytorch_icnet.imaging.images import read_image, read_label_map
from pytorch_icnet.predict import Predictor
from pytorch_icnet.predict.cli import main

from .clips import write_clip

Bytes = NDArray[np.uint8]

SIZE = (50, 80)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in i/ and i/below/; the current folder."""
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "below/a.png"):
        path = tmp_path / "i" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, SIZE[::-1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def predictor(weights: Path) -> Predictor:
    return Predictor(weights, backend="eager", input_size=(65, 97))


def call(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def predict(weights: Path, *arguments: str | Path) -> Result:
    sized = () if "--native" in arguments else ("--input-size", "65", "97")
    return call(*arguments, "--weights", weights, "--device", "cpu", "--backend", "eager", "--output", "out", *sized)


def made(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*.*"))


def assert_failed(result: Result, line: str, code: int = 1) -> None:
    """One line on stderr, no traceback."""
    assert result.exit_code == code and isinstance(result.exception, SystemExit), result.output
    assert line in result.stderr, result.stderr
    if code == 1:
        assert result.stderr.count("\n") == 1


def half_up(image: Bytes, colours: Bytes, alpha: float) -> Bytes:
    return np.floor((1 - alpha) * image.astype(float) + alpha * colours + 0.5).astype(np.uint8)


def test_images(folder: Path, weights: Path, predictor: Predictor) -> None:
    result = predict(weights, "i/a.png", "i/b.jpg", "--json", "r.json", "--save", "labels,color,overlay,side-by-side")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("2 frames in ") and result.stdout.endswith(", in out\n")
    assert made(folder) == [f"{kind}/{n}.png" for kind in ("colour", "labels", "overlay", "side-by-side") for n in "ab"]
    for name in ("a.png", "b.jpg"):
        image, stem = read_image(folder / "i" / name), name[0]
        labels = predictor.labels(image)
        assert np.array_equal(read_label_map(folder / "out" / "labels" / f"{stem}.png"), labels)
        assert np.array_equal(read_label_map(folder / "out" / "colour" / f"{stem}.png"), labels)
        assert np.array_equal(read_image(folder / "out" / "colour" / f"{stem}.png"), PALETTE[labels])
        blended = read_image(folder / "out" / "overlay" / f"{stem}.png")
        assert np.array_equal(blended, half_up(image, PALETTE[labels], 0.5))
        beside = read_image(folder / "out" / "side-by-side" / f"{stem}.png")
        assert np.array_equal(beside, np.hstack([image, PALETTE[labels]]))
    report = json.loads((folder / "r.json").read_text())
    assert report["frames"] == 2 and report["complete"] and report["engines"][0]["backend"] == "eager"
    first = report["sources"][0]
    assert first["input"] == "i/a.png" and first["size"] == [50, 80] and sum(first["pixels"].values()) == 4000
    assert all(Path(path).is_file() for path in first["outputs"]) and len(first["outputs"]) == 4


def test_folders_patterns_and_lists(folder: Path, weights: Path) -> None:
    assert predict(weights, "i").exit_code == 0
    assert made(folder) == [
        f"{kind}/{n}.png" for kind in ("colour", "labels", "overlay") for n in ("a", "b", "below/a")
    ]
    assert call("i/*.jpg", "--weights", weights, "--output", "p", "--input-size", 65, 97).exit_code == 0
    assert [path.name for path in (folder / "p" / "labels").iterdir()] == ["b.png"]
    (folder / "list.txt").write_text("a.png x.png\nb.jpg y.png\n")
    result = predict(weights, "--list", "list.txt", "--data-root", "i", "--save", "label-ids")
    assert result.exit_code == 0 and "label-ids/a.png" in made(folder)
    labels = read_label_map(folder / "out" / "labels" / "a.png")
    ids = read_label_map(folder / "out" / "label-ids" / "a.png")
    assert np.array_equal(ids == 7, labels == 0) and np.array_equal(ids == 33, labels == 18)


def test_results_in_the_folder_are_not_predicted(folder: Path, weights: Path) -> None:
    for _ in range(2):
        result = call("i", "--weights", weights, "--output", "i/out", "--input-size", 65, 97, "--save", "overlay")
        assert result.stdout.startswith("3 frames in ")


def test_alpha(folder: Path, weights: Path, predictor: Predictor) -> None:
    image = read_image(folder / "i" / "a.png")
    colours = PALETTE[predictor.labels(image)]
    for alpha, expected in ((0.0, image), (1.0, colours), (0.3, half_up(image, colours, 0.3))):
        assert predict(weights, "i/a.png", "--alpha", str(alpha)).exit_code == 0
        found = read_image(folder / "out" / "overlay" / "a.png").astype(int)
        assert np.abs(found - expected).max() <= (1 if alpha == 0.3 else 0)


def test_probabilities(folder: Path, weights: Path, predictor: Predictor) -> None:
    expected = predictor.probabilities(read_image(folder / "i" / "a.png")).transpose(1, 2, 0)
    assert predict(weights, "--probabilities", "i/a.png").exit_code == 0
    whole = np.load(folder / "out" / "probabilities" / "a.npz")["data"]
    assert whole.dtype == np.float32 and np.array_equal(whole, expected)
    assert predict(weights, "--probabilities", "i/a.png", "--float16").exit_code == 0
    half = np.load(folder / "out" / "probabilities" / "a.npz")["data"]
    assert half.dtype == np.float16 and np.array_equal(half, expected.astype(np.float16))
    assert predict(weights, "i/a.png", "--probabilities", "mat", "--save", "labels").exit_code == 0
    single = loadmat(str(folder / "out" / "probabilities" / "a.mat"))["data"]
    assert single.dtype == np.float32 and np.array_equal(single, expected)


def test_native(folder: Path, weights: Path) -> None:
    assert predict(weights, "i/a.png", "--native").exit_code == 0
    native = Predictor(weights, native=True, backend="eager")
    expected = native.labels(read_image(folder / "i" / "a.png"))
    assert np.array_equal(read_label_map(folder / "out" / "labels" / "a.png"), expected)


def test_sliding_window(folder: Path, weights: Path, predictor: Predictor) -> None:
    image = read_image(folder / "i" / "a.png")
    for extra in ((), ("--probabilities",)):
        result = predict(weights, "i/a.png", "--sliding-window", "40", "48", "--overlap", "0.5", *extra)
        assert result.exit_code == 0, result.output
        found = read_label_map(folder / "out" / "labels" / "a.png")
        assert np.array_equal(found, predictor.sliding_labels(image, (40, 48), 0.5))
    assert not np.array_equal(found, predictor.labels(image))
    probabilities = np.load(folder / "out" / "probabilities" / "a.npz")["data"]
    expected = predictor.sliding(image, (40, 48), 0.5).transpose(1, 2, 0)
    assert np.array_equal(probabilities, expected)
    assert predict(weights, "i/a.png", "--sliding-window", *map(str, SIZE)).exit_code == 0
    assert np.array_equal(read_label_map(folder / "out" / "labels" / "a.png"), predictor.labels(image))


def test_region(folder: Path, weights: Path, predictor: Predictor) -> None:
    image = read_image(folder / "i" / "a.png")
    result = predict(weights, "i/a.png", "--roi", "10", "20%", "75%", "45px", "--probabilities")
    assert result.exit_code == 0, result.output
    part = (slice(10, 45), slice(10, 60))
    expected = np.full(SIZE, 255, np.uint8)
    expected[part] = predictor.labels(np.ascontiguousarray(image[part]))
    labels = read_label_map(folder / "out" / "labels" / "a.png")
    assert np.array_equal(labels, expected)
    shown = read_image(folder / "out" / "overlay" / "a.png")
    assert np.array_equal(shown[labels == 255], image[labels == 255])
    assert np.array_equal(shown[part], half_up(image[part], PALETTE[labels[part]], 0.5))
    assert not read_image(folder / "out" / "colour" / "a.png")[labels == 255].any()
    probabilities = np.load(folder / "out" / "probabilities" / "a.npz")["data"]
    assert not probabilities[labels == 255].any() and probabilities[part].any(-1).all()


def test_table_of_classes(folder: Path, weights: Path, predictor: Predictor) -> None:
    rows = [f"thing {index},{10 * index} {index} 7" for index in range(19)]
    (folder / "classes.csv").write_text("\n".join(["name,colour", *rows]) + "\n")
    assert predict(weights, "i/a.png", "--classes", "classes.csv", "--json", "r.json").exit_code == 0
    labels = predictor.labels(read_image(folder / "i" / "a.png"))
    colours = np.array([(10 * index, index, 7) for index in range(19)], np.uint8)
    assert np.array_equal(read_image(folder / "out" / "colour" / "a.png"), colours[labels])
    assert all(
        name.startswith("thing ") for name in json.loads((folder / "r.json").read_text())["sources"][0]["pixels"]
    )
    (folder / "classes.csv").write_text("\n".join(["name,colour", *rows[:5]]) + "\n")
    result = predict(weights, "i/a.png", "--classes", "classes.csv")
    assert_failed(result, "narrow.pt: scores 19 classes, but the table has 5")


def turned(path: Path, orientation: int) -> None:
    """Put an EXIF orientation into a JPEG file."""
    data = path.read_bytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])


def test_orientation(folder: Path, weights: Path, predictor: Predictor) -> None:
    stored = read_image(folder / "i" / "b.jpg")
    turned(folder / "i" / "b.jpg", 6)
    assert predict(weights, "i/b.jpg").exit_code == 0
    upright = predictor.labels(np.ascontiguousarray(np.rot90(stored, -1)))
    assert np.array_equal(read_label_map(folder / "out" / "labels" / "b.png"), upright)
    assert predict(weights, "i/b.jpg", "--stored-orientation").exit_code == 0
    assert np.array_equal(read_label_map(folder / "out" / "labels" / "b.png"), predictor.labels(stored))


def test_broken_images(folder: Path, weights: Path) -> None:
    whole = (folder / "i" / "a.png").read_bytes()
    (folder / "i" / "aa.png").write_bytes(whole[: len(whole) // 2])
    assert_failed(predict(weights, "i"), "i/aa.png: the PNG file is cut off")
    result = predict(weights, "i", "--skip-broken", "--json", "r.json")
    assert result.exit_code == 0
    assert result.stderr == "i/aa.png: the PNG file is cut off; skipped\n"
    assert "3 frames in " in result.stdout and "1 of 4 broken" in result.stdout
    report = json.loads((folder / "r.json").read_text())
    assert [source["error"] is None for source in report["sources"]] == [True, False, True, True]
    assert "labels/aa.png" not in made(folder)
    result = predict(weights, "i/aa.png", "--skip-broken")
    assert result.exit_code == 1 and "nothing could be predicted" in result.stderr


def test_broken_videos(folder: Path, weights: Path) -> None:
    (folder / "i" / "v.mp4").write_bytes(b"no video")
    write_clip(folder / "i" / "w.mp4", 3)
    assert_failed(predict(weights, "i/v.mp4"), "i/v.mp4: cannot be opened as a video")
    result = predict(weights, "i", "--skip-broken", "--save", "overlay")
    assert result.exit_code == 0 and "6 frames in " in result.stdout
    assert made(folder) == ["overlay/a.png", "overlay/b.png", "overlay/below/a.png", "overlay/w.mp4"]


def test_image_bomb(folder: Path, weights: Path) -> None:
    bomb = bytearray((folder / "i" / "a.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 60000, 60000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (folder / "i" / "a.png").write_bytes(bomb)
    assert_failed(predict(weights, "i/a.png"), "i/a.png: 60000x60000 pixels are more than")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("i/none.png",), "i/none.png"),
        (("i/*.gif",), "i/*.gif: no file is called like this"),
        (("i/a.png", "i/below/a.png"), "i/below/a.png: results are called a, like those of i/a.png"),
        (("i/a.png", "--roi", "10", "0", "10", "100%"), "i/a.png: the region from (10, 0) to (10, 50) is empty"),
        (("i/a.png", "--roi", "0", "0", "100%", "51"), "reaches out of the image, which is 80 wide and 50 high"),
        (("text.txt",), "text.txt: neither a PNG or JPEG image nor a video"),
        (("empty",), "empty: holds no images and no videos"),
    ],
)
def test_mistakes(folder: Path, weights: Path, arguments: tuple[str, ...], line: str) -> None:
    (folder / "text.txt").write_text("text")
    (folder / "empty").mkdir()
    assert_failed(predict(weights, *arguments), line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "nothing to predict"),
        (("i", "--save", "labels,maps"), "no output 'maps'"),
        (("i", "--roi", "0", "0", "1e3", "5"), "'1e3': expected pixels"),
        (("i", "--camera", "0"), "--camera goes alone"),
        (("i", "--overlap", "0.5"), "--overlap is for --sliding-window"),
        (("i", "--overlap", "1", "--sliding-window", "9", "9"), "1.0 is not in the range"),
        (("i", "--alpha", "2"), "--alpha"),
        (("i", "--as-video", "fast"), "'fast'; expected frames per second"),
        (("i", "--data-root", "i"), "--data-root is for --list"),
    ],
)
def test_wrong_use(folder: Path, weights: Path, arguments: tuple[str, ...], line: str) -> None:
    assert_failed(predict(weights, *arguments), line, code=2)


def test_native_has_no_input_size(folder: Path, weights: Path) -> None:
    result = call("i", "--weights", weights, "--native", "--input-size", 65, 97)
    assert_failed(result, "leave out --input-size", code=2)


def test_missing_weights(folder: Path) -> None:
    assert_failed(call("i/a.png", "--weights", "none.pt"), "none.pt")
    assert_failed(call("i/a.png"), "--weights", code=2)
