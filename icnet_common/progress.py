"""What a run tells while it works: messages, a progress bar, and a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from tqdm import tqdm

from .console import user_message
from .errors import InputError

_LOG_EVERY = 10.0
"""Seconds between two lines about progress in the log."""


class Log:
    """Messages on stderr and, with their time, in a file.

    Args:
        quiet: only the file.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stream: TextIO | None = None
        self._waiting: list[str] = []
        """What was said before there was a file."""

    def open(self, path: Path) -> None:
        """From now on append to a file.

        Raises:
            InputError: it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a", encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
        self._stream.writelines(self._waiting)

    def say(self, message: str) -> None:
        """For the user."""
        if not self._quiet:
            with tqdm.external_write_mode(file=sys.stderr):
                click.echo(message, err=True)
        self.note(message)

    def note(self, message: str) -> None:
        """For the file alone."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n"
        if self._stream is None:
            self._waiting.append(line)
        else:
            self._stream.write(line)
            self._stream.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Write down how it ended."""
        if error is not None:
            self.note(user_message(error) or ("stopped" if isinstance(error, KeyboardInterrupt) else repr(error)))
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class Progress:
    """Counts images: a bar on stderr when that is a terminal, and now and then a line in the log."""

    def __init__(self, total: int, log: Log, description: str, *, bar: bool = True) -> None:
        self._total, self._log, self._done = total, log, 0
        self._start = self._logged = time.monotonic()
        hidden = None if bar else True
        self._bar: tqdm[Any] = tqdm(
            total=total, desc=description, unit=" images", disable=hidden, dynamic_ncols=True, leave=False
        )

    def advance(self) -> None:
        """Another image is finished."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY or self._done == self._total:
            self._logged = now
            self._log.note(self._line(now - self._start))

    def close(self) -> None:
        self._bar.close()

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds if seconds > 0 else float("inf")
        left = (self._total - self._done) / rate
        return f"{self._done}/{self._total} images, {rate:.2f} images/s, {_duration(left)} left"


@contextmanager
def beside_bar() -> Iterator[None]:
    """Print to stdout inside this, and a progress bar is not torn."""
    with tqdm.external_write_mode(file=sys.stdout):
        yield


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
