"""Commands end with one line and the right exit code."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from icnet_common import console
from icnet_common.errors import InputError
from pytorch_icnet.runtime.devices import find_device


def run(error: BaseException | None, *arguments: str) -> Result:
    @console.command("demo")
    @click.option("--number", type=int)
    def demo(number: int | None) -> None:
        if error is not None:
            raise error
        click.echo(f"done {number}")

    return CliRunner().invoke(demo, arguments)


def test_success() -> None:
    result = run(None, "--number", "3")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "done 3\n", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.png: is empty"), "demo: a.png: is empty\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), "demo: x: No such file or directory\n"),
        (OSError(28, "No space left on device"), "demo: No space left on device\n"),
        (MemoryError(), "demo: not enough memory\n"),
    ],
)
def test_failures_are_one_line(error: BaseException, line: str) -> None:
    result = run(error)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", line)


def test_stopped_by_the_user() -> None:
    result = run(KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, "demo: stopped\n")


def test_debug_shows_the_traceback() -> None:
    result = run(InputError("bad"), "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr and result.stderr.endswith("demo: bad\n")


def test_bugs_are_not_hidden() -> None:
    assert isinstance(run(ZeroDivisionError()).exception, ZeroDivisionError)


def test_wrong_use() -> None:
    assert run(None, "--number", "x").exit_code == 2


def test_version() -> None:
    result = run(InputError("never reached"), "--version")
    assert (result.exit_code, result.stdout) == (0, f"demo {console.version()}\n")


def test_device() -> None:
    assert find_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="--device nonsense"):
        find_device("nonsense")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("a.png", "None a.png"),
        ("--level", "alone"),
        ("--level 1 a.png", "1 a.png"),
        ("--level 1 2 3", "1,2 3"),
        ("a.png --level --flag 1", "alone a.png 1"),
        ("--level=1 2", "1 2"),
        ("-- --level 1", "None --level 1"),
    ],
)
def test_options_with_optional_values(arguments: str, expected: str) -> None:
    @console.command("demo")
    @click.argument("files", nargs=-1)
    @click.option("--flag", is_flag=True)
    @click.option("--level", cls=console.OptionalValues, accepts=str.isdigit, max_values=2, alone="alone")
    def demo(files: tuple[str, ...], flag: bool, level: str | None) -> None:
        click.echo(" ".join([str(level), *files]))

    assert CliRunner().invoke(demo, arguments.split()).stdout == f"{expected}\n"
