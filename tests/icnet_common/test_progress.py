"""The log and the count of images in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icnet_common.errors import InputError
from icnet_common.progress import Log, Progress

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def test_what_is_said_before_there_is_a_file_is_written_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log() as log:
        log.say("first")
        log.open(tmp_path / "new" / "log.txt")
        log.note("second")
    assert capsys.readouterr().err == "first\n"
    assert re.fullmatch(f"{TIME}first\n{TIME}second\n", (tmp_path / "new" / "log.txt").read_text())


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(quiet=True) as log:
        log.open(tmp_path / "log.txt")
        log.say("said")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "log.txt").read_text().endswith(" said\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [(InputError("a reason"), "a reason"), (KeyboardInterrupt(), "stopped"), (KeyError(1), "KeyError(1)")],
)
def test_how_it_ended_is_written(tmp_path: Path, error: BaseException, line: str) -> None:
    with pytest.raises(type(error)), Log() as log:
        log.open(tmp_path / "log.txt")
        raise error
    assert (tmp_path / "log.txt").read_text().endswith(f" {line}\n")


def test_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images a second at first, one a second later; a line every ten seconds and at the end."""
    now = 100.0
    monkeypatch.setattr("icnet_common.progress.time.monotonic", lambda: now)
    with Log() as log:
        log.open(tmp_path / "log.txt")
        count = Progress(40, log, "predict")
        for number in range(40):
            now += 0.5 if number < 20 else 1.0
            count.advance()
        count.close()
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == [
        "20/40 images, 2.00 images/s, 0:00:10 left",
        "30/40 images, 1.50 images/s, 0:00:07 left",
        "40/40 images, 1.33 images/s, 0:00:00 left",
    ]
