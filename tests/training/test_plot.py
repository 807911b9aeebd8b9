"""A training's log as curves."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from icnet_common.errors import InputError
from training.log import Row, TrainingLog
from training.plot import draw, main, read_curves
from training.validate import Validation


@pytest.fixture()
def log(tmp_path: Path) -> Path:
    written = TrainingLog(tmp_path, every=1, tensorboard=False)
    for iteration in range(1, 5):
        written.step(Row(iteration, 2 / iteration, 0.1, 0.5, 0.0))
    written.validation(4, Validation(0.25, 0.75, 1.5))
    return tmp_path / "log.csv"


def test_curves_are_the_columns(log: Path) -> None:
    curves = read_curves(log)
    iterations, losses = curves["loss"]
    assert iterations == [1, 2, 3, 4] and losses == pytest.approx([2, 1, 2 / 3, 0.5], rel=1e-5)
    assert curves["mean_iou"] == ([4], [0.25])


def test_the_figure_shows_them(log: Path) -> None:
    pytest.importorskip("matplotlib")
    losses, scores = draw(read_curves(log)).axes
    assert [list(line.get_xdata()) for line in losses.lines] == [[1, 2, 3, 4], [4]]
    assert [list(line.get_ydata()) for line in scores.lines] == [[25.0], [75.0]]
    curves = read_curves(log)
    assert len(draw({"loss": curves["loss"]}).axes) == 1


def test_the_command_writes_the_same_bytes_each_time(log: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "b.svg"):
        result = CliRunner().invoke(main, [str(log), "--output", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "iteration,loss\nx,1\n", "iteration,loss\n1,\n", "\0"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(InputError, match=r"other\.csv: not the log\.csv of a training"):
        read_curves(tmp_path / "other.csv")


@pytest.mark.parametrize("name", ["missing.csv", "log.csv"])
def test_mistakes_are_one_line(log: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    result = CliRunner().invoke(main, [str(tmp_path / name), "--output", str(tmp_path / "curve.xyz")])
    assert result.exit_code == 1 and len(result.output.splitlines()) == 1
    assert ("no kind of image" if name == "log.csv" else "cannot be read") in result.output
