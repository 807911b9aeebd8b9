"""The toolkit's commands, found by what a user types, run within this process or in one of their own."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

import click
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


@cache
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@cache
def scripts() -> dict[str, str]:
    """What an installation puts on the path: ``module:function`` by name."""
    lines = setup()["options.entry_points"]["console_scripts"].split("\n")[1:]
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines)}


@dataclass(frozen=True)
class Program:
    """A command of the toolkit."""

    name: str
    target: str
    """``module:function``."""

    @property
    def command(self) -> click.Command:
        module, _, function = self.target.partition(":")
        found = getattr(importlib.import_module(module), function)
        assert isinstance(found, click.Command)
        return found

    def options(self) -> set[str]:
        """All names of options, short and long."""
        context = click.Context(self.command)
        return {name for option in self.command.get_params(context) for name in (*option.opts, *option.secondary_opts)}

    def misuse(self, arguments: Sequence[str]) -> str | None:
        """What is wrong with these arguments before anything is done; None: nothing."""
        try:
            self.command.make_context(self.name, list(arguments)).close()
        except click.UsageError as error:
            return error.format_message()
        except click.exceptions.Exit as end:
            return f"exit code {end.exit_code}" if end.exit_code else None
        return None

    def run(self, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> str | None:
        """Run it here, with more environment variables; what went wrong, or None."""
        result = CliRunner().invoke(self.command, list(arguments), prog_name=self.name, env=variables)
        if result.exit_code == 0:
            return None
        error = result.exception
        trace = "" if error is None or isinstance(error, SystemExit) else "".join(traceback.format_exception(error))
        return f"exit code {result.exit_code}: {_end(result.output)}{trace}"

    def line(self, arguments: Sequence[str]) -> list[str]:
        """Arguments of a process that runs it as its console script does."""
        module, _, function = self.target.partition(":")
        code = f"import sys; from {module} import {function}; sys.exit({function}(prog_name={self.name!r}))"
        return [sys.executable, "-c", code, *arguments]

    def run_apart(self, arguments: Sequence[str]) -> str | None:
        """Run it in a process of its own; what went wrong, or None."""
        return run_process(self.line(arguments))


def run_process(line: Sequence[str]) -> str | None:
    result = subprocess.run(line, capture_output=True, text=True, env=environment(), timeout=300, check=False)
    return None if result.returncode == 0 else f"exit code {result.returncode}: {_end(result.stdout + result.stderr)}"


def environment() -> dict[str, str]:
    """For processes: the repository is importable from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def find(words: Sequence[str]) -> tuple[Program, list[str]] | None:
    """The program that a line begins with, and its arguments; None if it is none of the toolkit's."""
    if words[0] in scripts():
        return Program(words[0], scripts()[words[0]]), list(words[1:])
    if words[0] == "python" and words[1] == "-m":
        spec = _spec(words[2])
        package = spec is not None and spec.submodule_search_locations is not None
        module = f"{words[2]}.__main__" if package else words[2]
        return None if spec is None else (Program(" ".join(words[:3]), f"{module}:main"), list(words[3:]))
    return None


def programs() -> list[Program]:
    """All that an installation puts on the path."""
    return [Program(name, target) for name, target in scripts().items()]


def split(text: str) -> tuple[dict[str, str], list[str]]:
    """The variables that a line begins with, and its words."""
    words = shlex.split(text)
    variables = {}
    while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return variables, words


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None


def _end(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-5:])
