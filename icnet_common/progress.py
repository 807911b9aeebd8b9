"""What the toolkit tells while it works: messages through :mod:`logging`, a progress bar, and a log file.

A module logs to ``logging.getLogger(__name__)``: warnings and information are for the user, debugging messages for the
log file of a run. A command shows them (:func:`messages`); a library leaves that to the program that uses it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, TypeVar

import click
from tqdm import tqdm

from .errors import user_message
from .files import writing

T = TypeVar("T")

PACKAGES = ("icnet_common", "prototxt", "converter", "pytorch_icnet", "evaluation", "training")
"""The parents of the loggers."""

_LOG_EVERY = 10.0
"""Seconds between two messages about progress in the log."""

logger = logging.getLogger(__name__)


class _Console(logging.Handler):
    """Writes to stderr, as it is at each message, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(self.format(record), err=True)


_console = _Console(logging.INFO)


@contextmanager
def messages(level: int) -> Iterator[None]:
    """Show messages from ``level`` on while the block runs, and a progress bar unless only errors are shown."""
    with _at_level(level), _attached(_console):
        yield


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Show errors only, where ``wanted``, while the block runs: for the processes that do not lead."""
    with _at_level(logging.ERROR if wanted else _console.level):
        yield


@contextmanager
def _at_level(level: int) -> Iterator[None]:
    before = _console.level
    _console.setLevel(level)
    try:
        yield
    finally:
        _console.setLevel(before)


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    """Give a handler all messages of the toolkit while the block runs."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class LogFile(MemoryHandler):
    """Messages of all levels in a file, each after its time; see :func:`log_file`."""

    def __init__(self) -> None:
        super().__init__(capacity=0)  # every message goes on to the file at once, and waits where there is none

    def open(self, path: Path) -> None:
        """Append to this file from now on, and what was told before. Raises InputError: it cannot be written."""
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _File(path, encoding="utf-8", errors="surrogateescape")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self.setTarget(file)
        self.flush()

    def close(self) -> None:
        file = self.target
        super().close()
        if file is not None:
            file.close()


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Let the error, such as that of a full disk, end the run."""
        raise


@contextmanager
def log_file(path: Path | None = None) -> Iterator[LogFile]:
    """Write all messages of the block, and how it ended, to a file.

    Args:
        path: None: call :meth:`LogFile.open` within the block, once the file may be made. If that does not happen,
            nothing is written.
    """
    with closing(LogFile()) as log, _attached(log):
        if path is not None:
            log.open(path)
        try:
            yield log
        except BaseException as error:
            logger.debug(user_message(error) or ("stopped" if isinstance(error, KeyboardInterrupt) else repr(error)))
            raise


class ProgressBar:
    """Counts what is finished: a bar on stderr when that is a terminal, and now and then a message for the log file.

    Args:
        total: how many there are; None: not known.
        done: how many of them were finished before.
    """

    def __init__(self, total: int | None, description: str, *, unit: str = "images", done: int = 0) -> None:
        self._total, self._unit, self._first, self._done = total, unit, done, done
        self._start = self._logged = time.monotonic()
        self._bar: tqdm[Any] = tqdm(
            total=total,
            initial=done,
            desc=description,
            unit=f" {unit}",
            disable=True if _console.level >= logging.ERROR else None,
            dynamic_ncols=True,
            leave=False,
        )

    def show(self, **figures: object) -> None:
        """Show these figures behind the bar from now on."""
        self._bar.set_postfix(figures, refresh=False)

    def advance(self) -> None:
        """Another one is finished."""
        self._done += 1
        self._bar.update()
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY or self._done == self._total:
            self._logged = now
            logger.debug(self._line(now - self._start))

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds if seconds > 0 else float("inf")
        if self._total is None:
            return f"{self._done} {self._unit}, {rate:.2f} {self._unit}/s"
        left = timedelta(seconds=round((self._total - self._done) / rate))
        return f"{self._done}/{self._total} {self._unit}, {rate:.2f} {self._unit}/s, {left} left"


def track(items: Iterable[T], total: int, description: str, *, unit: str = "images") -> Iterator[T]:
    """``items``, with a :class:`ProgressBar` that advances when the next is asked for."""
    with ProgressBar(total, description, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance()
