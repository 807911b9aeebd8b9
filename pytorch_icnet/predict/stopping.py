"""Ending in order on Ctrl-C and SIGTERM: once asked for, nothing interrupts the closing of files."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from icnet_common.errors import InputError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Terminated(BaseException):
    """Like KeyboardInterrupt, for SIGTERM: no handler of errors shall take it for one."""


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Within the block the first of both signals raises, and further ones are ignored.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
        InputError: ``message``, when SIGTERM came.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return

    def stop(number: int, _: object) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except _Terminated:
        raise InputError(message) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
