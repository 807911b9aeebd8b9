"""Messages, the progress bar and the log file of a run."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from icnet_common import console, progress
from icnet_common.errors import InputError
from icnet_common.progress import ProgressBar, log_file, messages, quiet, track

LOGGER = logging.getLogger("evaluation.somewhere")
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to stderr, which says that it is a terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def handlers() -> list[logging.Handler]:
    return [handler for name in progress.PACKAGES for handler in logging.getLogger(name).handlers]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [([], "warned\ntold\n"), (["-v"], "warned\ntold\nnoted\n"), (["--quiet"], "")],
)
def test_a_command_shows_messages(arguments: list[str], shown: str) -> None:
    @console.command("demo")
    def demo() -> None:
        logger = logging.getLogger("evaluation.somewhere")
        logger.warning("warned")
        logger.info("told")
        logger.debug("noted")

    for _ in range(2):  # nothing is shown twice the second time
        result = CliRunner().invoke(demo, arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", shown)
    assert handlers() == [] and logging.getLogger("evaluation").level == logging.NOTSET


def test_errors_are_shown_to_the_quiet_too() -> None:
    @console.command("demo")
    def demo() -> None:
        raise InputError("failed")

    assert CliRunner().invoke(demo, ["-q"]).stderr == "demo: failed\n"
    assert handlers() == []


def test_verbose_and_quiet_contradict() -> None:
    @console.command("demo")
    def demo() -> None: ...

    result = CliRunner().invoke(demo, ["-q", "-v"])
    assert result.exit_code == 2 and "either --verbose or --quiet" in result.stderr


def test_processes_that_do_not_lead_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with messages(logging.INFO):
        for leads in (True, False):
            with quiet(not leads):
                LOGGER.info("leads: %s", leads)
    assert capsys.readouterr().err == "leads: True\n"


def test_messages_do_not_tear_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = terminal(monkeypatch)
    with messages(logging.INFO), ProgressBar(2, "predict") as bar:
        bar.show(loss="0.5")
        bar.advance()
        LOGGER.info("above the bar")
        bar.advance()
    assert re.search(r"\r +\rabove the bar\n\rpredict: +50%.*loss=0.5", written.getvalue())


def test_the_quiet_see_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = terminal(monkeypatch)
    assert list(track(iter("ab"), 2, "predict")) == ["a", "b"]
    assert "predict" in written.getvalue()
    written.truncate(0)
    with messages(logging.ERROR):
        assert list(track(iter("ab"), 2, "predict")) == ["a", "b"]
    assert written.getvalue() == ""


def test_what_is_told_before_there_is_a_log_file_is_written_too(tmp_path: Path) -> None:
    with log_file() as log:
        LOGGER.info("first")
        log.open(tmp_path / "new" / "log.txt")
        LOGGER.debug("second")
    LOGGER.info("too late")
    assert re.fullmatch(f"{TIME}first\n{TIME}second\n", (tmp_path / "new" / "log.txt").read_text())


def test_a_log_file_is_appended_to(tmp_path: Path) -> None:
    for line in ("first", "second"):
        with log_file(tmp_path / "log.txt"):
            LOGGER.warning(line)
    assert re.fullmatch(f"{TIME}first\n{TIME}second\n", (tmp_path / "log.txt").read_text())


def test_a_log_file_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"log\.txt: cannot be written"), log_file(tmp_path / "file" / "log.txt"):
        pass


def test_quiet_messages_are_in_the_log_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with messages(logging.ERROR), log_file(tmp_path / "log.txt"):
        LOGGER.info("told")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "log.txt").read_text().endswith(" told\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [(InputError("a reason"), "a reason"), (KeyboardInterrupt(), "stopped"), (KeyError(1), "KeyError(1)")],
)
def test_the_log_file_says_how_it_ended(tmp_path: Path, error: BaseException, line: str) -> None:
    with pytest.raises(type(error)), log_file(tmp_path / "log.txt"):
        raise error
    assert (tmp_path / "log.txt").read_text().endswith(f" {line}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_ends_the_run() -> None:
    with pytest.raises(OSError, match="No space left"), log_file(Path("/dev/full")):
        LOGGER.info("told")


def test_the_log_file_tells_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images a second at first, one a second later; a line every ten seconds and at the end."""
    now = 100.0
    monkeypatch.setattr("icnet_common.progress.time.monotonic", lambda: now)
    with log_file(tmp_path / "log.txt"), ProgressBar(40, "predict") as bar:
        for number in range(40):
            now += 0.5 if number < 20 else 1.0
            bar.advance()
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert lines == [
        "20/40 images, 2.00 images/s, 0:00:10 left",
        "30/40 images, 1.50 images/s, 0:00:07 left",
        "40/40 images, 1.33 images/s, 0:00:00 left",
    ]
