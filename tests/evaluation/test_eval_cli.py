"""icnet-eval from the user's side: results, messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import pytorch_icnet
from evaluation.cli import main
from evaluation.run.task import STAGES
from pytorch_icnet import predictor
from pytorch_icnet.imaging.images import read_label_map, write_label_map
from pytorch_icnet.weights.known import KNOWN_WEIGHTS

from ..golden import shared
from .test_pipeline import Quarter, files
from .test_score import DATA, SCENARIOS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images with labels, a list, and a stand-in for the model in every weights file; the current folder."""
    random = np.random.default_rng(0)
    lines = []
    for name in "abcd":
        (tmp_path / "i").mkdir(exist_ok=True)
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "i" / f"{name}.png"), cv2.resize(coarse, (64, 32)))
        write_label_map(tmp_path / "l" / f"{name}.png", random.integers(0, 19, (32, 64), dtype=np.uint8))
        lines.append(f"i/{name}.png l/{name}.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: Quarter())
    return tmp_path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def evaluate(*arguments: str | Path) -> Result:
    return call("--list", "list.txt", "--weights", "w", "--device", "cpu", *arguments)


def assert_failed(result: Result, line: str) -> None:
    """Exit code 1, one line on stderr, no traceback."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.endswith("\n") and result.stderr.count("\n") == 1
    assert line in result.stderr


def test_predict_and_score(root: Path) -> None:
    result = evaluate("--json", "r.json")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Evaluating 1/4... Pixel-wise accuracy: ")
    assert lines[4] == "==== Summary IoU ===="
    assert lines[-1].startswith("4 images predicted in ")
    report = json.loads((root / "r.json").read_text())
    assert report == json.loads((root / "results" / "report.json").read_text())
    assert report["scores"]["images"] == 4
    assert report["weights"]["sha256"] == "0" * 64
    assert torch.backends.cudnn.enabled and not torch.backends.cudnn.allow_tf32
    assert report["published"] is None
    assert set(report["timing"]["mean_ms"]) == set(STAGES)
    only = call("--list", "list.txt", "--score-only", "results/gray", "--json", "s.json")
    assert only.stdout.splitlines() == lines[:-1]
    assert json.loads((root / "s.json").read_text())["scores"] == report["scores"]
    assert list(files(root / "results")) == [
        "classes.csv",
        *(f"color/{name}.png" for name in "abcd"),
        "confusion.csv",
        *(f"gray/{name}.png" for name in "abcd"),
        "images.csv",
        "journal.0.jsonl",
        "log.txt",
        "report.html",
        "report.json",
        "run.json",
    ]


def test_list_without_labels_is_predicted_only(root: Path) -> None:
    (root / "list.txt").write_text("i/a.png\r\ni/b.png\r\n")
    result = evaluate("--save-root", "out")
    assert result.exit_code == 0
    assert "the list has no labels to score with" in result.stdout
    assert not (root / "out" / "classes.csv").exists()
    assert read_label_map(root / "out" / "gray" / "b.png").shape == (32, 64)


def test_features(root: Path) -> None:
    assert evaluate("--save-feat", "--limit", "1").exit_code == 0
    assert (root / "results" / "feat" / "a.mat").stat().st_size > 4 * 32 * 64 * 19


def test_skip_and_limit_choose_lines(root: Path) -> None:
    (root / "i" / "a.png").unlink()
    (root / "l" / "d.png").unlink()
    result = evaluate("--skip", "1", "--limit", "2")
    assert result.exit_code == 0, "files of lines that are not used need not exist"
    assert sorted(path.stem for path in (root / "results" / "gray").glob("*")) == ["b", "c"]
    assert_failed(evaluate("--skip", "4"), "--skip 4 leaves none of 4 lines")


@pytest.mark.parametrize(("what", "folder"), [("image", "i"), ("label", "l")])
def test_missing_files_are_counted_before_any_work(root: Path, what: str, folder: str) -> None:
    for name in "ac":
        (root / folder / f"{name}.png").unlink()
    assert_failed(evaluate(), f"2 of 4 {what}s are missing: {folder}/a.png, {folder}/c.png; is --data-root right?")
    assert not (root / "results").exists()
    result = evaluate("--on-missing", "skip")
    assert result.exit_code == 0
    assert f"2 of 4 {what}s are missing" in result.stderr
    assert "Evaluating 2/2" in result.stdout
    assert len(list((root / "results" / "gray").glob("*"))) == (2 if what == "image" else 4)


def test_nothing_left(root: Path) -> None:
    result = evaluate("--data-root", "elsewhere", "--on-missing", "skip")
    assert result.exit_code == 1
    assert "no image is left" in result.stderr


def test_stale_predictions_are_not_scored(root: Path) -> None:
    assert evaluate("--limit", "3").exit_code == 0
    (root / "results" / "gray" / "c.png").rename(root / "results" / "gray" / "0.png")
    result = evaluate("--limit", "2")
    assert "1 PNG files are not of this run" in result.stderr
    assert "Evaluating 2/2" in result.stdout and result.exit_code == 0


def test_equal_stems(root: Path) -> None:
    (root / "list.txt").write_text("i/a.png l/a.png\nj/a.png l/b.png\n")
    assert_failed(evaluate(), "list.txt:2: results are called after the image, and a is also in line 1")


class Interrupted(Quarter):
    """Is stopped with Ctrl-C in its third image."""

    calls = 0

    def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().quarter_scores(x)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder) if name.endswith(".png")}


def test_interrupted_and_resumed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate("--save-root", "whole").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "open_weights", lambda path, cache, **_: Interrupted())
        result = evaluate()
    assert (result.exit_code, result.stderr) == (130, "icnet-eval: stopped\n")
    whole, left = contents(root / "whole"), contents(root / "results")
    assert left and left.items() < whole.items()
    assert "gray/a.png" in left
    (root / "results" / "gray" / "a.png").write_bytes(b"")
    kept = sum(f"gray/{name}.png" in left for name in "bcd")
    result = evaluate("--resume")
    assert result.exit_code == 0
    assert f"{kept} of 4 images are whole in results and kept" in result.stderr
    assert contents(root / "results") == whole
    assert "Evaluating 4/4" in result.stdout


def test_resume_refuses_other_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate().exit_code == 0
    assert_failed(
        evaluate("--resume", "--input-size", "65", "65"),
        "results of other settings (input size [33, 65], now [65, 65]; protocols)",
    )
    (root / "results" / "run.json").write_text("{")
    assert_failed(evaluate("--resume"), "run.json: damaged")
    (root / "results" / "run.json").unlink()
    assert "0 of 4 images are whole" in evaluate("--resume").stderr, "nothing says what made them"


def test_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytorch_icnet.outputs.png.encode", full)
    assert_failed(evaluate(), "a.png: cannot be written: No space left on device")


def test_model_out_of_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Large(Quarter):
        def quarter_scores(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")

    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: Large())
    assert_failed(evaluate(), "not enough memory on the device: CUDA out of memory.")


def test_comparison_with_the_published_figures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Quarter(md5=KNOWN_WEIGHTS[0].md5)
    monkeypatch.setattr(predictor, "open_weights", lambda path, cache, **_: model)
    result = evaluate("--json", "r.json")
    published = json.loads((root / "r.json").read_text())["published"]
    assert published["mean_iou"]["published"] == KNOWN_WEIGHTS[0].mean_iou
    difference = published["mean_iou"]["measured"] - published["mean_iou"]["published"]
    assert published["mean_iou"]["difference"] == difference
    assert f"mean IoU {KNOWN_WEIGHTS[0].mean_iou}%, here" in result.stdout
    assert KNOWN_WEIGHTS[0].file in result.stdout


@pytest.mark.parametrize("letter", ["b", "c", "d"])
def test_score_only_prints_what_the_original_prints(letter: str) -> None:
    expected = SCENARIOS[letter].partition("--- exact ---\n")[0]
    arguments = ("--score-only", DATA / f"gray_{letter}", "--data-root", DATA)
    result = call("--list", DATA / "list" / f"{letter}.txt", *arguments)
    assert (result.exit_code, result.stdout) == (0, expected)


def test_score_only_strict_list(root: Path) -> None:
    assert evaluate().exit_code == 0
    (root / "results" / "gray" / "d.png").unlink()
    arguments = ("--list", "list.txt", "--score-only", "results/gray")
    assert "Evaluating 3/3" in call(*arguments).stdout
    result = call(*arguments, "--strict-list")
    assert result.exit_code == 1
    assert "d.png: no such prediction, for i/d.png in line 4" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--list", "list.txt"),
        ("--list", "list.txt", "--weights", "w", "--score-only", "x"),
        ("--list", "list.txt", "--score-only", "x", "--resume"),
        ("--list", "list.txt", "--weights", "w", "--protocol", "other"),
        ("--list", "list.txt", "--weights", "w", "--limit", "0"),
        ("--list", "list.txt", "--weights", "w", "--input-size", "65"),
    ],
)
def test_wrong_use(root: Path, arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--list", "nowhere.txt", "--weights", "w"), "nowhere.txt: no such list"),
        (("--list", "list.txt", "--score-only", "nowhere"), "nowhere: no such folder of predictions"),
        (("--list", "list.txt", "--score-only", "i"), "i/a.png: an image with colours"),
        (("--list", "list.txt", "--weights", "w", "--num-classes", "5"), "scores 19 classes, but --num-classes is 5"),
        (("--list", "list.txt", "--weights", "w", "--device", "nowhere"), "--device nowhere: cannot be used here"),
        (
            ("--list", "list.txt", "--weights", "w", "--save-root", "list.txt/x"),
            "list.txt/x: cannot be written: Not a directory",
        ),
    ],
)
def test_failures(root: Path, arguments: tuple[str, ...], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("content", [None, b"", b"not weights", b"PK\x03\x04", bytes(100)])
def test_wrong_weights(tmp_path: Path, content: bytes | None) -> None:
    weights = tmp_path / "w.caffemodel"
    if content is not None:
        weights.write_bytes(content)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "list.txt").write_text("a.png\n")
    result = call("--list", tmp_path / "list.txt", "--data-root", tmp_path, "--weights", weights)
    assert_failed(result, str(weights))


def test_debug_shows_the_traceback(root: Path) -> None:
    result = evaluate("--skip", "9", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "evaluation", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: icnet-eval [OPTIONS]")


def test_a_small_icnet(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real network behind the real loader."""
    monkeypatch.undo()
    monkeypatch.chdir(root)
    torch.manual_seed(0)
    model = pytorch_icnet.icnet(width=0.1)
    torch.save(model.state_dict(), root / "small.pt")
    result = call("--list", "list.txt", "--weights", "small.pt", "--input-size", "97", "161", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "Evaluating 4/4" in result.stdout


@pytest.mark.slow
def test_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caffe's seeded weights on Cityscapes: at most 0.01 % of the pixels differ from the original pipeline's."""
    folder = shared("data", "cityscapes3")
    weights = shared("golden", "icnet", "icnet_bnnomerge_rand.caffemodel")
    monkeypatch.chdir(tmp_path)
    arguments = ("--list", folder / "val.txt", "--data-root", folder, "--weights", weights, "--device", "cpu")
    result = call(*arguments, "--json", "r.json")
    assert result.exit_code == 0, result.output
    for expected in sorted((folder / "gray_bnnomerge_rand").glob("*.png")):
        labels, original = read_label_map(Path("results/gray") / expected.name), read_label_map(expected)
        assert (labels != original).mean() <= 1e-4
    scores = json.loads(Path("r.json").read_text())["scores"]
    text = (folder / "expected_gray_bnnomerge_rand.txt").read_text()
    for name, value in (("mean_IoU", scores["mean_iou"]), ("accuracy", scores["pixel_accuracy"])):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        assert value == pytest.approx(float(line.split()[1]), abs=1e-5)
