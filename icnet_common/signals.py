"""Ending in order when the system asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from .errors import InputError


class _Terminated(BaseException):
    """Like KeyboardInterrupt, for SIGTERM: no handler of errors shall take it for one."""


@contextmanager
def terminable(message: str) -> Iterator[None]:
    """Turn SIGTERM within the block into an error that is reported on one line, after everything is closed in order.

    Schedulers send it before they kill, and ``torchrun`` when another process has died.

    Raises:
        InputError: ``message``, when SIGTERM came.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _Terminated:
        raise InputError(message) from None
    finally:
        signal.signal(signal.SIGTERM, before)
