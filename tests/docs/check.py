"""A page put to the test: its commands and examples run in their order, and all that fails is listed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import traceback
from pathlib import Path

from . import programs, tables
from .blocks import SHELL, Block, Command, Page, commands
from .world import names

ADDRESS = "http://127.0.0.1:8000"
"""Of the server in the pages."""


class Visit:
    """One page in one world, which is the working directory."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.failures: list[str] = []
        self.counts = dict.fromkeys(("run", "parsed", "excepted", "examples", "data"), 0)
        self._names = names()
        self._server: Server | None = None

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def check(self) -> list[str]:
        """All that is wrong, a text each that begins with page and line."""
        blocks = list(self.page.blocks())
        for block in blocks:
            if block.language not in (*SHELL, "python"):
                self._note(block.line, self._data(block))
        for block in blocks:
            if block.language == "python":
                self.counts["examples"] += 1
                self._note(block.line, self._example(block))
            elif block.language in SHELL:
                for command in commands(block):
                    self._note(command.line, self._command(command))
        self._stop()
        return self.failures

    def _note(self, line: int, failure: str | None) -> None:
        if failure:
            self.failures.append(f"{self.page.name}:{line}: {failure}")

    def _data(self, block: Block) -> str | None:
        self.counts["data"] += 1
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError as error:
                return f"not JSON: {error}"
        if block.name:
            Path(block.name).write_text(tables.edited(block.name, block.text) + "\n")
        return None

    def _example(self, block: Block) -> str | None:
        code = "\n" * (block.line - 1) + block.text
        try:
            exec(compile(code, self.page.name, "exec"), self._names)
        except Exception as error:
            lines = [str(frame.lineno) for frame in traceback.extract_tb(error.__traceback__)[1:2]]
            return f"line {' '.join(lines)}: {type(error).__name__}: {error}"
        return None

    def _command(self, command: Command) -> str | None:
        row = tables.excepted(command)
        if row is not None:
            self.counts["excepted"] += 1
            return row.check(command)
        if ADDRESS in command.required and self._server is None:
            return f"{command.text}: nothing serves on this page before this line"
        url = self._server.url if self._server else ""
        text = tables.filled(command.required).replace(ADDRESS, url)
        variables, words = programs.split(text)
        if words[0] in tables.BASH:
            self.counts["run"] += 1
            return self._bash(text)
        found = programs.find(words)
        if found is None:
            return f"{words[0]}: not a command of the toolkit, nor in tests/docs/tables.py"
        program, arguments = found
        for option in command.optional:
            self.counts["parsed"] += 1
            wrong = program.misuse([*arguments, *programs.split(option)[1]])
            if wrong:
                return f"{command.text}: {wrong}"
        self.counts["run"] += 1
        begun = time.process_time()
        failure = self._run(program, [*arguments, *tables.added(command)], variables)
        print(f"{time.process_time() - begun:6.1f} s  {command.text}")
        return failure and f"{command.text}: {failure}"

    def _run(self, program: programs.Program, arguments: list[str], variables: dict[str, str]) -> str | None:
        if program.name == "icnet-serve":
            self._note(0, self._stop())
            wrong = program.misuse(arguments)
            if wrong:
                return wrong
            self._server = Server(program, arguments)
            return self._server.failure
        if (self.page.name, program.name) in tables.APART:
            return program.run_apart(arguments)
        return program.run(arguments, variables)

    def _bash(self, text: str) -> str | None:
        line = text.replace("curl", "curl --fail --silent --show-error", 1)
        failure = programs.run_process(["bash", "-o", "pipefail", "-c", line])
        return failure and f"{text}: {failure}"

    def _stop(self) -> str | None:
        server, self._server = self._server, None
        return None if server is None else server.stop()


class Server:
    """``icnet-serve``, running."""

    def __init__(self, program: programs.Program, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            program.line(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**programs.environment(), "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        said = []
        found = None
        for line in self.process.stdout:
            said.append(line)
            found = re.search(r"http://\S+", line)
            if found:
                break
        self.url = found[0].rstrip("/") if found else ""
        self.failure = None if found else f"did not start: {''.join(said[-5:])}"
        if found:
            asking = "curl --fail --silent --retry 30 --retry-delay 1 --retry-all-errors"
            self.failure = programs.run_process([*asking.split(), f"{self.url}/readyz"])

    def stop(self) -> str | None:
        """End it as a user does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
        return None if code == 0 else f"icnet-serve: exit code {code} after SIGTERM"
