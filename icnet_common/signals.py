"""Ending in order when the system or the user asks for it."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .errors import InputError


class _Terminated(BaseException):
    """Like KeyboardInterrupt, for SIGTERM: a BaseException, so that ``except Exception`` does not swallow it."""


class GracefulShutdown:
    """Within its ``with`` block SIGTERM ends the work in order, after every file is closed.

    Schedulers send it some time before they kill, and ``torchrun`` when another process has died. Once a signal came,
    further ones are ignored, so that nothing interrupts the closing of files. Outside the main thread, which alone may
    handle signals, the block changes nothing.

    Args:
        message: the block raises an InputError with it when SIGTERM came. None: only :attr:`requested` is set, and the
            work looks at it where it can stop.
        interrupt: treat Ctrl-C (SIGINT) alike; the block then raises KeyboardInterrupt.
    """

    def __init__(self, message: str | None = None, *, interrupt: bool = False) -> None:
        self.requested = False
        self._message = message
        self._signals = (signal.SIGTERM, signal.SIGINT) if interrupt else (signal.SIGTERM,)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> GracefulShutdown:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self._signals}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, _Terminated) and self._message is not None:
            raise InputError(self._message) from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._message is None:
            return
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated
